import numpy as np
import pytest
from PIL import Image

from keras_retinanet.paper import plots
from keras_retinanet.paper.experiment import load_experiment
from keras_retinanet.paper.tables import RowResults


def test_cumulative_loss_by_hand():
    share, cumulative = plots.cumulative_loss(np.array([0.5, 1.0, 0.25]), 0.0)
    np.testing.assert_allclose(share, [0, 1 / 3, 2 / 3, 1])
    # -log: 0, log 2, 2 log 2
    np.testing.assert_allclose(cumulative, [0, 0, 1 / 3, 1])
    _, cumulative = plots.cumulative_loss(np.array([0.5, 1.0, 0.25]), 2.0)
    hard, medium = 2 * 0.75**2, 0.5**2
    np.testing.assert_allclose(cumulative, [0, 0, medium / (hard + medium), 1])


def test_cumulative_loss_of_many_is_thinned_and_stays_true():
    p_t = np.random.default_rng(0).uniform(0.01, 1, 100_000)
    share, cumulative = plots.cumulative_loss(p_t, 2.0)
    assert len(share) <= 1001 and (np.diff(cumulative) >= 0).all()
    loss = np.sort(-((1 - p_t) ** 2) * np.log(p_t))
    half = np.searchsorted(share, 0.5)
    expected = loss[: round(share[half] * len(loss))].sum() / loss.sum()
    assert cumulative[half] == pytest.approx(expected, rel=1e-6)
    # The larger gamma, the smaller the share of the easier half.
    shares = [np.interp(0.5, *plots.cumulative_loss(p_t, g)) for g in plots.GAMMAS_FIGURE_4]
    assert (np.diff(shares) < 0).all()


def test_cumulative_loss_of_certain_or_no_examples_is_finite():
    for p_t in (np.ones(3), np.zeros(3), np.zeros(0)):
        assert np.isfinite(np.concatenate(plots.cumulative_loss(p_t, 2.0))).all()


@pytest.fixture
def some_results():
    def results(experiment):
        rows = [RowResults(row, []) for row in experiment.rows]
        rows[0].results = [{"AP": 0.2, "ms": 50.0}, {"AP": 0.22, "ms": 52.0}]
        rows[1].results = [{"diverged": "NaN"}]
        rows[2].results = [{"AP": None, "ms": 60.0}, {"AP": 0.3, "ms": 61.0}]
        return rows

    return results


def test_figures_are_written_in_print_quality(tmp_path, some_results):
    rng = np.random.default_rng(0)
    experiment = load_experiment("figure-2")
    plots.draw_focal_loss(tmp_path / "1.png")
    plots.draw_loss_distribution(rng.uniform(size=50), rng.uniform(size=900), tmp_path / "4.png")
    plots.draw_rows(experiment, some_results(experiment), tmp_path / "rows.png")
    plots.draw_speed(experiment, some_results(experiment), tmp_path / "2.png")
    for name in ("1", "4", "rows", "2"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width >= 1600
            assert len(picture.convert("RGB").getcolors(maxcolors=2**24)) > 20


def test_points_of_speed_keep_the_size_of_their_row(some_results):
    """A row that diverged, or that the paper does not have, must not shift the labels."""
    results = some_results(load_experiment("figure-2"))
    results[2].row = results[2].row.model_copy(update={"paper": None})
    names = [each.row.name.partition(", ") for each in results[:3]]
    assert {family for family, _, _ in names} == {"ResNet-50"}
    sizes = [size for _, _, size in names]
    paper, ours = plots.speed_points(results, "ResNet-50")
    assert sizes[0] in paper and sizes[1] in paper and sizes[2] not in paper
    assert ours == {
        sizes[0]: (pytest.approx(51.0), pytest.approx(21.0)),
        sizes[2]: (pytest.approx(60.5), pytest.approx(30.0)),
    }
    assert plots.speed_points(results, "ResNet-18") == ({}, {})


def test_rows_without_figures_of_the_paper(tmp_path, some_results):
    """An experiment of one's own, before and after its first training."""
    experiment = load_experiment("table-1b")
    rows = [row.model_copy(update={"paper": None}) for row in experiment.rows]
    assert all(row.paper is None for row in rows)
    for name, results in (("none", []), ("one", [{"AP": 0.25}])):
        path = tmp_path / f"{name}.png"
        plots.draw_rows(experiment, [RowResults(row, results) for row in rows], path)
        with Image.open(path) as picture:
            assert picture.width >= 1600
