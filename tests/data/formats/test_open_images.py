import numpy as np
import pytest

from keras_retinanet.data.formats import open_images_rows
from keras_retinanet.data.formats.open_images import read_open_images
from keras_retinanet.errors import DataError

BOX = (8, 4, 40, 30)


@pytest.fixture
def annotated(open_images):
    """One image with one box."""
    open_images.add_image()
    open_images.add_box("a.jpg", BOX)
    return open_images


@pytest.fixture
def written(annotated):
    """A function: the content of boxes.csv -> the data set; `classes`, that of classes.csv."""

    def load(content, classes=None):
        annotated.write()
        for name, text in (("boxes.csv", content), ("classes.csv", classes)):
            if text is not None:
                data = text if isinstance(text, bytes) else text.encode()
                (annotated.root / name).write_bytes(data)
        annotated.write = lambda: None
        return annotated.load()

    return load


@pytest.fixture(params=["by block", "row by row"])
def either_way(request, monkeypatch):
    """Whether plain rows are read as such, or one by one as unusual ones are."""
    if request.param == "row by row":
        monkeypatch.setattr(open_images_rows, "_parse_block", lambda *args: None)


def test_shares_become_pixels_and_groups_are_ignored(annotated, either_way):
    annotated.add_box("a.jpg", (0, 0, 64, 64), "dog", ignored=True)
    annotated.add_box("a.jpg", (1, 2, 3, 4), "dog")
    dataset = annotated.load()
    np.testing.assert_array_equal(dataset.boxes, [BOX, (0, 0, 64, 64), (1, 2, 3, 4)])
    assert dataset.is_ignored.tolist() == [False, True, False]
    assert dataset.labels.tolist() == [1, 0, 0]
    assert dataset.class_names == ("dog", "cat")
    assert dataset.category_ids == (1, 2)
    assert dataset.image_ids == ["a"]
    assert not annotated.findings


def test_plain_rows_are_not_read_one_by_one(annotated, monkeypatch):
    annotated.add_box("a.jpg", (1, 2, 64, 64), "/m/0123456")  # all cells of other widths
    annotated.descriptions += "/m/0123456,bird\n"
    monkeypatch.delattr(open_images_rows, "_parse_lines")
    np.testing.assert_array_equal(annotated.load().boxes, [BOX, (1, 2, 64, 64)])


def test_classes_are_the_sorted_ids_without_descriptions(annotated, either_way):
    annotated.descriptions = None
    for name in ("/m/09", "/m/02", "/m/09"):
        annotated.add_box("a.jpg", BOX, name)
    dataset = annotated.load()
    assert dataset.class_names == ("/m/00", "/m/02", "/m/09")
    assert dataset.labels.tolist() == [0, 2, 1, 2]


def test_images_are_those_of_the_list(annotated, either_way):
    for name in ("b.jpg", "c.jpg"):
        annotated.add_image(name)
    annotated.add_box("b.jpg", (1, 2, 3, 4))
    annotated.add_box("a.jpg", (2, 2, 3, 4))
    annotated.image_list = ["c", "a"]
    dataset = annotated.load()
    assert dataset.image_ids == ["c", "a"]
    assert dataset.boxes[:, 0].tolist() == [8, 2]
    assert dataset.row_splits.tolist() == [0, 0, 2]
    problem = f"boxes of images not in {annotated.root / 'list.txt'}"
    assert annotated.findings == {(problem, "box dropped"): 1}
    assert dataset.findings[0].where.endswith("boxes.csv: 1")


def test_columns_are_found_by_name_and_groups_may_be_absent(written, either_way):
    text = "XMax,YMax,XMin,ImageID,YMin,LabelName\n0.5,0.75,0.25,a,0.125,/m/00\n"
    dataset = written(text)
    np.testing.assert_array_equal(dataset.boxes, [(16, 8, 32, 48)])
    assert not dataset.is_ignored.any()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n"])
def test_line_ends_blank_lines_and_marks_are_read_over(written, annotated, mark, line_end, last):
    annotated.add_box("a.jpg", (1, 2, 3, 4))
    text = annotated.text().rstrip("\n") + last
    dataset = written(mark + text.replace("\n", line_end).encode())
    np.testing.assert_array_equal(dataset.boxes, [BOX, (1, 2, 3, 4)])


def test_quotes_spaces_and_decimal_commas_are_read(written, annotated):
    row = 'a.jpg,,"/m/01", ,"0,125","0,5"," 0.25",0.75,,,1,,'
    dataset = written(f"{annotated.text()}{row}\n")
    np.testing.assert_array_equal(dataset.boxes, [BOX, (8, 16, 32, 48)])
    assert dataset.is_ignored.tolist() == [False, True]


def test_an_image_id_with_a_suffix_is_the_file_s_name(written, annotated):
    dataset = written(annotated.text().replace("\na,", "\na.jpg,"))
    assert dataset.image_ids == ["a.jpg"]
    assert dataset.image_paths[0].endswith("images/a.jpg")


def test_swapped_corners_are_mended_and_reported(annotated, either_way):
    annotated.add_box("a.jpg", (40, 4, 8, 30))
    dataset = annotated.load()
    np.testing.assert_array_equal(dataset.boxes, [BOX, BOX])
    assert annotated.findings == {("corners of a box are swapped", "box mended"): 1}
    assert dataset.findings[0].where.endswith("boxes.csv:3")


@pytest.mark.parametrize("block", [40, 100, 1000])
def test_many_blocks_give_what_one_gives(tmp_path, monkeypatch, block):
    rng = np.random.default_rng(block)
    shares = rng.random((200, 4)).round(6)
    shares.sort(axis=1)
    rows = []
    for i, (x1, y1, x2, y2) in enumerate(shares.tolist()):
        quote = '"' if i == 150 else ""
        rows.append(f"{quote}im{i // 7}{quote},x,/m/{i % 5},1,{x1},{x2},{y1},{y2},0,0,{i % 3 - 1}")
    header = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf"
    )
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join([header, *rows]))
    monkeypatch.setattr(open_images_rows, "BLOCK_BYTES", block)
    raw = read_open_images(tmp_path, path)
    np.testing.assert_array_equal(raw.boxes, shares.astype(np.float32))
    assert raw.labels.tolist() == [i % 5 for i in range(200)]
    assert raw.box_images.tolist() == [i // 7 for i in range(200)]
    assert raw.is_ignored.tolist() == [i % 3 == 2 for i in range(200)]
    assert raw.image_ids == [f"im{i}" for i in range(29)]
    assert [raw.describe_box(t) for t in (0, 199)] == [f"{path}:2", f"{path}:201"]
    assert raw.boxes_normalized


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,x,/m/77,1,0,0.5,0,0.5,0,0,0,0,0", "has the unknown class '/m/77': it is not in"),
        ("a,x,/m/00,1,0,0.5,0,0.5,0,0,0,0", "has 12 cells where the header has 13"),
        ("a,x,/m/00,1,0,0.5,0,,0,0,0,0,0", "needs numbers XMin, XMax, YMin, YMax"),
        ("a,x,/m/00,1,0,half,0,1,0,0,0,0,0", "needs numbers XMin"),
        ("a,x,/m/00,1,0,0.5,0,0.5,0,0,yes,0,0", "IsGroupOf is 1, 0 or -1, not 'yes'"),
        (",x,/m/00,1,0,0.5,0,0.5,0,0,0,0,0", "needs an ImageID and a LabelName"),
        ("a,x,,1,0,0.5,0,0.5,0,0,0,0,0", "needs an ImageID and a LabelName"),
        ('a,x,"/m/00,1,0,0.5,0,0.5,0,0,0,0,0', "not a row of CSV"),
        ("a,x,/m/00,1,0,nan,0,0.5,0,0,0,0,0", "holds NaN or infinity"),
        ("a,x,/m/00,1,0,1e400,0,0.5,0,0,0,0,0", "holds NaN or infinity"),
        ("a,x,/m/00,1,0,1e300,0,0.5,0,0,0,0,0", "holds NaN or infinity"),
        ("a,x,/m/00,1,8,40,4,30,0,0,0,0,0", "shares of the image's width and height are expected"),
        (b"\xff,x,/m/00,1,0,0.5,0,0.5,0,0,0,0,0", "not UTF-8 text"),
        ("a" * 500 + ",x,/m/00,1,0,x,0,0.5,0,0,0,0,0", "needs numbers XMin"),
    ],
)
def test_a_malformed_row_stops_with_file_and_line(written, annotated, row, message):
    row = row if isinstance(row, bytes) else row.encode()
    good = b"a,x,/m/00,1,0,0.5,0,0.5,0,0,0,0,0\n"
    with pytest.raises(DataError) as error:
        written(annotated.text().encode() + row + b"\n" + good)
    assert f"{annotated.root / 'boxes.csv'}:3" in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_rows_too_long_and_too_short_do_not_make_up_for_each_other(written, annotated):
    rows = "a,x,/m/00,1,0,0.5,0,0.5,0,0,0,0\na,x,/m/00,1,0,0.5,0,0.5,0,0,0,0,0,0\n"
    with pytest.raises(DataError, match=r"boxes\.csv:3 has 12 cells"):
        written(annotated.text() + rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "boxes.csv:1: the file is empty"),
        ("a,x,/m/00,1,0,0.5,0,0.5,0,0,0,0,0\n", "boxes.csv:1: no column ImageID, LabelName,"),
        ("ImageID,LabelName,XMin,XMax,YMin\n", "no column YMax"),
        (b"\xef\xbb", "boxes.csv:1: not UTF-8"),
        ("x" * 10**6, "boxes.csv:1"),
    ],
)
def test_a_file_without_its_header_stops(written, text, message):
    with pytest.raises(DataError) as error:
        written(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("/m/00\n", "classes.csv:1: rows of class descriptions are LabelName,name"),
        ("/m/00,cat\n/m/01,\n", "classes.csv:2: rows of class"),
        ("/m/00,cat\n/m/01,cat\n", "classes.csv:2: '/m/01' or 'cat' is there already"),
        ("LabelName,DisplayName\n", "classes.csv names no class"),
    ],
)
def test_malformed_class_descriptions_stop(written, annotated, classes, message):
    with pytest.raises(DataError) as error:
        written(annotated.text(), classes)
    assert message in str(error.value)


def test_boxes_of_missing_images_are_reported(annotated):
    annotated.image_list = [f"i{i}" for i in range(20)]
    for name in annotated.image_list:
        annotated.add_image(f"{name}.jpg", content=False if name == "i3" else None)
        annotated.add_box(f"{name}.jpg", BOX)
    assert len(annotated.load()) == 19
    assert annotated.findings["missing image file", "image skipped"] == 1
