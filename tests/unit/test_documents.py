import pytest
import yaml

from experiments.documents import read_document, write_yaml
from experiments.errors import BadInput


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "a: is given twice, in lines 1 and 2"),
        ('{"a": 1, "a": 2}', "a: is given twice; keep one of them"),
        ("a: [1", "task.yaml: line 1, column 6: expected ',' or ']', but got '<stream end>'"),
        ('{"a": nope nope: 1}', "task.yaml: line 1, column 7: Expecting value"),
        ("[" * 1000, "task.yaml: is nested too deeply"),
        ('{"a": NaN}', "a: NaN is not a finite number"),
        ('{"a": {"b": [1, -Infinity]}}', "a.b[1]: -Infinity is not a finite number"),
        ('{"a": 1e999}', "a: 1e999 is not a finite number"),
        ("a: {b: 1e999}", "a.b: 1e999 is not a finite number"),
        ("NaN: 1\na: [1e999]", "a[0]: 1e999 is not a finite number"),
        (f"a: {{b: {10**400}}}", "a.b: a number of 401 digits is too large"),
        (f'{{"a": {10**400}}}', "a: a number of 401 digits is too large"),
        ("a: " + "9" * 5000, "a: a number of 5000 digits is too large"),
        ('{"a": [' + "9" * 5000 + "]}", "a[0]: a number of 5000 digits is too large"),
        (
            "? [a, b]\n: 1",
            "task.yaml: line 1, column 3: a name must be text, not a list or mapping",
        ),
        (
            "{[a]: 1}",
            "task.yaml: line 1, column 2: a name must be text, not a list or mapping",
        ),
        ("x: {{a: 1}: 1}", "x: line 1, column 5: a name must be text, not a list or mapping"),
        (
            "a: !!timestamp 2024-01-01",
            "a: line 1, column 4: the tag !!timestamp is not understood; leave it out",
        ),
        (
            "{a: {b: !!set {c}}}",
            "a.b: line 1, column 9: the tag !!set is not understood; leave it out",
        ),
        ("a: !own x", "a: line 1, column 4: the tag !own is not understood; leave it out"),
        ("a: !!int x", "a: line 1, column 4: 'x' is not a whole number"),
        ("a: !!bool x", "a: line 1, column 4: 'x' is not true or false"),
        ("a: &a [*a]", "task.yaml: is nested too deeply"),
        ("x: {b: 1, b: 2}", "x.b: is given twice, in lines 1 and 1"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_line_that_says_where(text, message):
    with pytest.raises(BadInput) as refused:
        read_document(text, "task.yaml")
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("true", True),
        ("1e-4", 1e-4),
        ("-.5", -0.5),
        ("3.", 3.0),
        ("7", 7),
        ("010", "010"),
        ("2024-01-01", "2024-01-01"),
        ("12:30", "12:30"),
        ("~", None),
        ("", None),
    ],
)
def test_a_plain_word_means_what_it_means_in_json(text, value):
    found = read_document(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


def test_json_is_read_as_json_and_yaml_in_braces_as_yaml():
    assert read_document('{\n\t"a": [1e-4, "\\u00e9"]\n}') == {"a": [1e-4, "é"]}
    assert read_document("{a: [1, 2]}") == {"a": [1, 2]}


def test_anchors_and_merges_are_understood():
    text = "a: &usual {x: 1, y: 2}\nb: {<<: *usual, y: 3}"
    assert read_document(text)["b"] == {"x": 1, "y": 3}


def test_what_is_written_is_read_back_by_any_reader():
    data = {"b": ["on", "1e-4", "010", 1e-5, 1e22, True, None, "é"], "a": [{"x": [1, 2]}]}
    text = write_yaml(data)
    assert read_document(text) == yaml.safe_load(text) == data
    assert "x: [1, 2]" in text
    assert list(read_document(text)) == ["b", "a"]


def test_a_tag_that_json_knows_is_understood():
    assert read_document("a: !!str 1\nb: !!int '2'\nc: !!float 3") == {"a": "1", "b": 2, "c": 3.0}


def test_a_short_text_that_repeats_itself_endlessly_is_refused():
    lines = ["a0: &a0 [1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(BadInput, match=r"task\.yaml: has more than 100000 values"):
        read_document("\n".join(lines), "task.yaml")
