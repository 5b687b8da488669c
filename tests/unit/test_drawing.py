"""What a page is sent so that it shows what is drawn now."""

from experiments.drawing import ITEMS, Drawing, Part, frames

TABLE = f"<table><tbody>{ITEMS}</tbody></table>"


def drawing(head: str = "head", table: str = TABLE, **rows: str) -> Drawing:
    items = {int(name.removeprefix("r")): html for name, html in rows.items()}
    return Drawing({"head": Part(head), "rows": Part(table, items)}, is_moving=True)


def test_nothing_is_sent_when_nothing_changed() -> None:
    assert frames(drawing(r1="a"), drawing(r1="a")) == []


def test_a_row_that_changed_is_sent_alone_and_before_the_rest() -> None:
    sent = frames(drawing(r2="b", r1="a"), drawing("other", r2="B", r1="a"))
    assert sent == ["B", "other"]


def test_a_new_row_comes_on_top_and_the_oldest_goes() -> None:
    changed, added = frames(drawing(r2="b", r1="a"), drawing(r3="c", r2="b"))
    assert changed == '<tr id="row-1" hx-swap-oob="delete"></tr>'
    assert added == '<tbody hx-swap-oob="afterbegin:#live-rows tbody">c</tbody>'


def test_a_table_that_begins_or_has_other_columns_is_sent_whole() -> None:
    assert frames(drawing(), drawing(r1="a")) == [TABLE.replace(ITEMS, "a")]
    assert frames(drawing(r1="a"), drawing(table=f"<b>{ITEMS}", r1="a")) == ["<b>a"]


def test_a_snapshot_has_every_row() -> None:
    assert drawing(r2="b", r1="a").snapshot == "head" + TABLE.replace(ITEMS, "ba")
