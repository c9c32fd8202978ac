import numpy as np
import pytest

from keras_retinanet.errors import DataError

BOX = (8, 4, 40, 30)


@pytest.fixture
def annotated(csv):
    """One image with one box."""
    csv.add_image()
    csv.add_box("a.jpg", BOX)
    return csv


@pytest.fixture
def written(annotated):
    """A function: the content of train.csv -> the data set; `classes`, that of classes.csv."""

    def load(content, classes=None):
        annotated.write()
        for name, text in (("train.csv", content), ("classes.csv", classes)):
            if text is not None:
                data = text if isinstance(text, bytes) else text.encode()
                (annotated.root / name).write_bytes(data)
        annotated.write = lambda: None
        return annotated.load()

    return load


def test_classes_follow_their_ids(annotated):
    annotated.add_box("a.jpg", BOX, "dog")
    dataset = annotated.load()
    assert dataset.class_names == ("cat", "dog")
    assert dataset.category_ids == (0, 7)
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.image_ids == ["images/a.jpg"]


def test_classes_are_the_sorted_names_of_all_splits_without_a_file(annotated):
    annotated.class_rows = None
    annotated.add_box("a.jpg", BOX, "zebra")
    annotated.write()
    (annotated.root / "val.csv").write_text("images/a.jpg,1,2,30,40,monkey\n")
    splits = {"train": "train.csv", "val": "val.csv"}
    annotated.write_yaml({"format": "csv", "splits": splits})
    annotated.write = lambda: None
    for split, labels in (("train", [0, 2]), ("val", [1])):
        dataset = annotated.load(split)
        assert dataset.class_names == ("cat", "monkey", "zebra")
        assert dataset.category_ids == (0, 1, 2)
        assert dataset.labels.tolist() == labels


def test_a_row_of_commas_is_an_image_without_objects(written):
    dataset = written("images/a.jpg,,,,,\n")
    assert (len(dataset), dataset.num_boxes) == (1, 0)


def test_rows_of_an_image_need_not_follow_each_other(annotated):
    annotated.add_image("b.jpg")
    annotated.add_box("b.jpg", (1, 2, 30, 40))
    annotated.add_box("a.jpg", (2, 2, 30, 40))
    dataset = annotated.load()
    assert dataset.boxes[:, 0].tolist() == [8, 2, 1]
    assert dataset.row_splits.tolist() == [0, 2, 3]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [None, ("path", "x1", "y1", "x2", "y2", "class")])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_make_of_the_file_is_read(written, delimiter, header, mark, line_end):
    rows = [header] if header else []
    rows += [("images/a.jpg", 8, "4.5", "40.0", "3e1", "cat"), (), ("images/a.jpg", *" " * 5)]
    lines = [delimiter.join(map(str, row)) for row in rows]
    classes = [delimiter.join(row) for row in (("name", "id"), ("cat", "0"))][1 - bool(header) :]
    dataset = written(
        *(mark + line_end.join(text).encode() for text in ([*lines, ""], [*classes, ""]))
    )
    np.testing.assert_array_equal(dataset.boxes, [(8, 4.5, 40, 30)])
    assert dataset.labels.tolist() == [0]
    assert dataset.class_names == ("cat",)
    assert len(dataset) == 1


def test_cells_may_be_quoted(written, annotated):
    annotated.add_image("a, b.jpg")
    dataset = written('"images/a, b.jpg","8","4","40","30","cat"\n')
    assert dataset.image_paths[0].endswith("images/a, b.jpg")


def test_decimal_commas_are_read_where_they_divide_no_cells(written):
    np.testing.assert_array_equal(
        written("images/a.jpg;8,5;4;40,25;30;cat\n").boxes, [(8.5, 4, 40.25, 30)]
    )


@pytest.mark.parametrize(
    "header",
    [
        "filename,xmin,xmax,ymin,ymax,class",
        "Image,LEFT,right,Top,bottom,label",
        "path,x1,x2,y1,y2,class",
    ],
)
def test_a_header_names_columns_in_any_order(written, header):
    np.testing.assert_array_equal(written(f"{header}\nimages/a.jpg,8,40,4,30,cat\n").boxes, [BOX])


def test_a_header_may_name_more_columns(written):
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\nimages/a.jpg,64,48,dog,8,4,40,30\n"
    dataset = written(text)
    np.testing.assert_array_equal(dataset.boxes, [BOX])
    assert dataset.labels.tolist() == [1]


@pytest.mark.parametrize("swapped", [(40, 4, 8, 30), (8, 30, 40, 4), (40, 30, 8, 4)])
def test_swapped_corners_are_mended_and_reported(annotated, swapped):
    annotated.add_box("a.jpg", swapped)
    np.testing.assert_array_equal(annotated.load().boxes, [BOX, BOX])
    assert annotated.findings == {("corners of a box are swapped", "box mended"): 1}


@pytest.mark.parametrize("flat", [(8, 4, 8, 30), (40, 4, 8, 4), (8, 4, 8, 4)])
def test_a_flat_box_is_dropped_and_reported_with_its_line(annotated, flat):
    annotated.add_box("a.jpg", flat)
    dataset = annotated.load()
    assert dataset.num_boxes == 1
    assert annotated.findings == {("box of zero or negative size", "box dropped"): 1}
    assert dataset.findings[0].where.endswith("train.csv:2")


GOOD_ROW = "images/a.jpg,8,4,40,30,cat\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("images/a.jpg,8,4,40,30,cow", "has the unknown class 'cow'; known: ['cat', 'dog']"),
        ("images/a.jpg,8,4,40,cat", "has 5 cells instead of 6: rows are path,x1,y1,x2,y2,class"),
        ("images/a.jpg,8,4,40,30,cat,1", "has 7 cells instead of 6"),
        ("images/a.jpg,8,four,40,30,cat", "needs four numbers x1, y1, x2, y2: could not"),
        ("images/a.jpg,8,,40,30,cat", "needs four numbers"),
        ("images/a.jpg,,,,,cat", "needs four numbers"),
        ("images/a.jpg,8,4,40,30,", "has a box without a class"),
        (",8,4,40,30,cat", "names no image"),
        (",,,,,", "names no image"),
        ('images/a.jpg,8,4,40,30,"cat', "not a row of CSV: unexpected end of data"),
        ("images/a.jpg,8,4,40,nan,cat", "holds NaN or infinity"),
        ("images/a.jpg,8,4,40,1e400,cat", "holds NaN or infinity"),
        ("path,x1,y1,x2,y2,class", "needs four numbers"),
        (b"images/\xff.jpg,8,4,40,30,cat", "not UTF-8 text"),
    ],
)
def test_a_malformed_row_stops_with_file_and_line(written, annotated, row, message):
    row = row if isinstance(row, bytes) else row.encode()
    with pytest.raises(DataError) as error:
        written(GOOD_ROW.encode() + b"\n" + row + b"\n" + GOOD_ROW.encode())
    assert f"{annotated.root / 'train.csv'}:3" in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("bild,links,oben,rechts,unten,klasse", "train.csv:1 needs four numbers"),
        ("path,x1,y1,x2,bottom", "train.csv:1: the header needs one column 'class', got none"),
        ("path,file,x1,y1,x2,y2,class", "needs one column 'path', got ['path', 'file']"),
        ("path", "train.csv:1 has 1 cells instead of 6"),
    ],
)
def test_an_unknown_header_stops(written, header, message):
    with pytest.raises(DataError) as error:
        written(f"{header}\n{GOOD_ROW}")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("cat\n", "classes.csv:1: rows of a classes file are name,id"),
        ("cat,0\ndog,one\n", "classes.csv:2: rows of a classes file are name,id"),
        ("cat,0\n,1\n", "classes.csv:2: rows of a classes file"),
        ("cat,0\ndog,0\n", "classes.csv:2: the class 'dog' or its id 0 is there already"),
        ("cat,0\ncat,1\n", "classes.csv:2: the class 'cat' or its id 1 is there already"),
        ("", "classes.csv names no class"),
        ("name,id\n", "classes.csv names no class"),
    ],
)
def test_a_malformed_classes_file_stops(written, classes, message):
    with pytest.raises(DataError) as error:
        written(GOOD_ROW, classes)
    assert message in str(error.value)


def test_normalised_boxes_stop(written):
    with pytest.raises(DataError, match=r"train\.csv:1: boxes look normalised"):
        written("images/a.jpg,0.1,0.2,0.5,0.75,cat\n")


@pytest.mark.parametrize("name", ["train.csv", "classes.csv"])
def test_a_missing_file_is_named(annotated, name):
    annotated.write()
    (annotated.root / name).unlink()
    annotated.write = lambda: None
    with pytest.raises(DataError, match=f"cannot read .*{name}: No such file"):
        annotated.load()
