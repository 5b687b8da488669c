"""What others have written is only text in a Markdown report."""

from experiments import markdown


def test_a_text_is_one_line_without_markup() -> None:
    said = markdown.plain("a\n# b <img src=x> ![c](http://d) `e` | f & g")
    assert said == r"a # b &lt;img src=x&gt; !\[c\](http://d) \`e\` \| f &amp; g"


def test_a_cell_does_not_end_before_its_end() -> None:
    assert markdown.row(["a|b", "c\\|d"]) == r"| a\|b | c\\\|d |"


def test_a_block_of_code_ends_where_it_should() -> None:
    assert markdown.code("x\n```\ny") == ["````", "x\n```\ny", "````"]
    assert markdown.code("x") == ["```", "x", "```"]
