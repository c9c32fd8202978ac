import numpy as np
import pytest

from keras_retinanet.data.faults import collect_faults
from keras_retinanet.data.formats.fizyr_csv import read_csv
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
        (
            "bild,links,oben,rechts,unten,klasse",
            "train.csv:1: the header cannot be understood: no column of the image. Its titles are "
            "'bild', 'links', 'oben', 'rechts', 'unten', 'klasse'; needed are a column of the "
            "image (filename, ",
        ),
        ("path,x1,y1,x2,bottom", "no column of the class (if there is one class only, name it"),
        ("path,a,b,c,d,class", "cannot be understood: no columns of the box"),
        ("path,path,x1,y1,x2,y2,class", "more than one column of the image: path"),
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


ROWS = {"a": [("cat", 10, 20, 60, 45)], "b": [("dog", 30, 5, 50, 40), ("cat", 2, 15, 62, 47)]}


def rows(order, header=None, delimiter=","):
    """The same three boxes with columns in any order: p(ath), c(lass), corners, sizes, ids."""
    lines = [header] if header else []
    for name, boxes in ROWS.items():
        for c, x1, y1, x2, y2 in boxes:
            cells = {
                "p": f"images/{name}.jpg", "c": c, "x1": x1, "y1": y1, "x2": x2, "y2": y2,
                "w": x2 - x1, "h": y2 - y1, "cx": (x1 + x2) / 2, "cy": (y1 + y2) / 2,
                "W": 64, "H": 48, "id": {"cat": 0, "dog": 7}[c],
                "cell": f'"[{x1}, {y1}, {x2 - x1}, {y2 - y1}]"',
            }  # fmt: skip
            lines.append(delimiter.join(str(cells[key]) for key in order.split()))
    return "\n".join([*lines, ""])


@pytest.fixture
def two_images(csv):
    csv.add_image("a.jpg")
    csv.add_image("b.jpg")
    csv.write()
    csv.write = lambda: None
    return csv


def read_rows(folder, text):
    data = text if isinstance(text, bytes) else text.encode()
    (folder.root / "train.csv").write_bytes(data)
    return folder.load()


def is_right(dataset):
    expected = [box for boxes in ROWS.values() for _, *box in boxes]
    names = [c for boxes in ROWS.values() for c, *_ in boxes]
    np.testing.assert_array_equal(dataset.boxes, expected)
    assert [dataset.class_names[label] for label in dataset.labels] == names
    return True


@pytest.mark.parametrize(
    ("header", "order"),
    [
        ("location,x1,y1,x2,y2,class_name", "p x1 y1 x2 y2 c"),
        ("Image Name;XMin;YMin;XMax;YMax;Label".replace(";", ","), "p x1 y1 x2 y2 c"),
        ("imageName,xMin,yMin,xMax,yMax,labelName", "p x1 y1 x2 y2 c"),
        ("img,x0,y0,x1,y1,category", "p x1 y1 x2 y2 c"),
        (",filename,width,height,class,xmin,ymin,xmax,ymax", "id p W H c x1 y1 x2 y2"),
        ("class,filename,height,width,xmax,xmin,ymax,ymin", "c p H W x2 x1 y2 y1"),
        ("filename,class,class_id,xmin,ymin,xmax,ymax", "p c id x1 y1 x2 y2"),
        ("filename,label,class,xmin,ymin,xmax,ymax", "p id c x1 y1 x2 y2"),
        ("image_name,x1,y1,x2,y2,class,image_width,image_height", "p x1 y1 x2 y2 c W H"),
        ("filename,x,y,width,height,class", "p x1 y1 w h c"),
        ("ImageID,bbox_x,bbox_y,bbox_w,bbox_h,name", "p x1 y1 w h c"),
        ("image,xmin,ymin,width,height,label", "p x1 y1 w h c"),
        ("image,width,height,bbox_x,bbox_y,bbox_width,bbox_height,label", "p W H x1 y1 w h c"),
        ("image,x_center,y_center,width,height,label", "p cx cy w h c"),
        ("Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,Path,Class", "W H x1 y1 x2 y2 p c"),
        ("image_id,width,height,bbox,source,label", "p W H cell c c"),
        ("# filename,xmin,ymin,xmax,ymax,class", "p x1 y1 x2 y2 c"),
    ],
)
def test_titles_are_read_by_what_they_mean(two_images, header, order):
    assert is_right(read_rows(two_images, rows(order, header)))
    assert not two_images.findings


@pytest.mark.parametrize(
    "order", ["p x1 y1 x2 y2 c", "c p x1 y1 x2 y2", "p c x1 y1 x2 y2", "p x1 y1 x2 y2 c W H",
              "c x1 y1 w h p W H", "W H p x1 y1 x2 y2 c".replace("W H ", "")],
)  # fmt: skip
def test_orders_without_a_header_are_recognised(two_images, order):
    assert is_right(read_rows(two_images, rows(order)))


@pytest.mark.parametrize(
    ("order", "titles", "name"),
    [
        ("p x1 y1 w h c", "filename,x,y,width,height,class", "xywh"),
        ("p x1 x2 y1 y2 c", "filename,xmin,xmax,ymin,ymax,class", "xxyy"),
    ],
)
def test_orders_that_the_numbers_contradict_are_refused(
    two_images, monkeypatch, order, titles, name
):
    more = {"c": [("cat", 40, 30, 60, 40), ("dog", 44, 1, 60, 12), ("dog", 3, 30, 20, 36)]}
    two_images.add_image("c.jpg")
    monkeypatch.setitem(ROWS, "c", more["c"])
    with pytest.raises(DataError) as error:
        read_rows(two_images, rows(order))
    assert "cannot be xmin,ymin,xmax,ymax" in str(error.value)
    assert f"add the header {titles} as the first line" in str(error.value)
    assert f"boxes: {name}" in str(error.value)
    assert is_right(read_rows(two_images, rows(order, titles)))
    two_images.write_yaml(
        {"format": "csv", "boxes": name, "splits": {"train": {"annotations": "train.csv"}}}
    )
    assert is_right(read_rows(two_images, rows(order)))


def test_the_sizes_of_the_images_tell_the_order(two_images, monkeypatch):
    # As corners all have an area; but some leave their image of 64 x 48.
    monkeypatch.setitem(ROWS, "a", [("cat", 5, 6, 60, 45), ("cat", 10, 8, 50, 40)])
    monkeypatch.setitem(ROWS, "b", [("dog", 3, 5, 50, 40), ("cat", 2, 4, 62, 47)])
    with pytest.raises(DataError, match="they may be xmin,xmax,ymin,ymax"):
        read_rows(two_images, rows("p x1 x2 y1 y2 c"))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "# made by a tool, version 1.2\n" + text,
        lambda text: text.replace("\n", ",\n"),
        lambda text: text.replace("\n", ",,,\n"),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-be").join([b"\xfe\xff", b""]),
        lambda text: text.replace(",", ";").replace(";20;", ";20,0;"),
        lambda text: text.replace("images/", "images\\"),
        lambda text: text.replace("images/", "C:\\Users\\me\\data\\"),
        lambda text: text.replace("images/", ""),
        lambda text: text.replace("images/", "").replace(".jpg", ".JPG"),
        lambda text: text.replace(".jpg", ""),
    ],
)
def test_remarks_commas_encodings_and_paths_of_other_systems(two_images, change):
    assert is_right(read_rows(two_images, change(rows("p x1 y1 x2 y2 c"))))
    assert not two_images.findings


def test_a_row_whose_image_begins_with_a_hash_is_no_remark(annotated):
    annotated.write()
    lines = (annotated.root / "train.csv").read_text()
    (annotated.root / "train.csv").write_text(lines + "#1.jpg,1,2,30,40\n")
    annotated.write = lambda: None
    with pytest.raises(DataError, match=r"train\.csv:2 has 5 cells instead of 6"):
        annotated.load()


def test_images_may_be_in_a_folder_of_their_own(two_images):
    (two_images.root / "images").rename(two_images.root / "pictures")
    two_images.write_yaml({"format": "csv", "images": "pictures", "splits": {"train": "train.csv"}})
    assert is_right(read_rows(two_images, rows("p x1 y1 x2 y2 c").replace("images/", "")))


def test_without_a_column_of_the_class_the_one_class_is_named(two_images):
    text = rows("p cell", "image_id,bbox")
    with pytest.raises(DataError, match=r"no column of the class .*`classes: \[NAME\]`"):
        read_rows(two_images, text)
    two_images.write_yaml({"format": "csv", "classes": ["wheat"], "splits": {"train": "train.csv"}})
    dataset = read_rows(two_images, text + "images/a.jpg,\nimages/a.jpg,[]\n")
    assert dataset.class_names == ("wheat",)
    assert dataset.num_boxes == 3


def test_all_faults_are_collected_with_their_lines(two_images):
    good = rows("p x1 y1 x2 y2 c")
    bad = ["images/a.jpg,10,20,thirty,40,cat", "images/a.jpg,1,2,3", "images/a.jpg,1,2,30,40,",
           ",1,2,30,40,cat", "images/a.jpg,1,2,30,40,cow", "images/a.jpg,1,2,30,40,cow",
           'images/a.jpg,1,2,30,40,"cat']  # fmt: skip
    path = two_images.root / "train.csv"
    path.write_text(good + "".join(f"{row}\n" for row in bad), encoding="utf-8")
    with collect_faults() as faults:
        raw = read_csv(path, two_images.root / "classes.csv")
    assert len(raw.boxes) == 3
    lines = sorted(f.where.removeprefix(f"{path}:").partition(":")[0] for f in faults.findings)
    assert lines == ["10", "4", "5", "6", "7", "8"]  # the class cow once


@pytest.mark.parametrize("text", ["0,cat\n7,dog\n", "id,name\n7,dog\n0,cat\n", "cat,0,\ndog,7,\n"])
def test_files_of_classes_as_tools_write_them(two_images, text):
    (two_images.root / "classes.csv").write_text(text)
    dataset = read_rows(two_images, rows("p x1 y1 x2 y2 c"))
    assert is_right(dataset)
    assert dataset.category_ids == (0, 7)
