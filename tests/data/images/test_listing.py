from keras_retinanet.data.images.listing import list_files, list_images


def test_list_images_looks_into_subfolders(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.jpeg", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [p.name for p in list_images(tmp_path)] == ["a.png", "b.JPG", "c.jpeg"]
    assert list_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    for name in (
        "a.webp",
        ".b.jpg",
        ".ipynb_checkpoints/a.jpg",
        "sub/.hidden/c.png",
        "d.jxl",
        "e.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    assert [p.name for p in list_images(tmp_path)] == ["a.webp", "d.jxl"]
    assert [p.name for p in list_files(tmp_path)] == ["a.webp", "d.jxl", "e.txt"]
