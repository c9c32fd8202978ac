from keras_retinanet.system.workers import Worker
from keras_retinanet.training.setup import input_batches


class TestBatches:
    """What the config says about the batches arrives in the plan and the pipeline."""

    def test_the_plan_draws_partners_and_repeats(self, demo, tiny_config):
        plan = input_batches.make_plan(tiny_config("augment.preset=strong"), demo[0])
        assert (plan.mosaic, plan.mixup) == (0.2, 0.1)
        assert plan.repeats is None
        plan = input_batches.make_plan(tiny_config("training.repeat_threshold=1"), demo[0])
        assert (plan.mosaic, plan.mixup) == (0, 0)
        assert len(plan.repeats) == 8 and plan.repeats.max() > 1

    def test_record_files_are_shared_out(self, demo, tiny_config, monkeypatch):
        given = []
        monkeypatch.setattr(
            input_batches, "by_file", lambda plan, *args, **options: given.append((args, options))
        )
        input_batches.make_plan(tiny_config("training.file_shares=4"), demo[0])
        monkeypatch.setattr(input_batches, "this_worker", lambda: Worker(1, 2))
        input_batches.make_plan(tiny_config(), demo[0])
        assert given == [
            ((demo[0].image_paths, 4), {"num_workers": 1}),
            ((demo[0].image_paths, 1), {"num_workers": 2}),
        ]

    def test_a_batch_s_files_name_the_partners(self, demo, tiny_config):
        config = tiny_config("augment.mosaic=1")
        plan = input_batches.make_plan(config, demo[0])
        named = input_batches.planned_files(config, demo[0], plan, 0, 1)
        assert named == [demo[0].image_paths[i] for i in plan.batch(0, 1)]
        assert len(named) == 4 * 4
        config = tiny_config("training.data_service='grpc://localhost:1'")
        assert input_batches.planned_files(config, demo[0], plan, 0, 1) is None

    def test_settings_reach_the_pipeline(self, demo, tiny_config, tmp_path, monkeypatch):
        given = {}
        monkeypatch.setattr(input_batches, "training_batches", lambda *_, **k: given.update(k))
        config = tiny_config(
            "augment.preset=default",
            "augment.hue=3",
            "training.cache=disk",
            f"training.cache_folder={tmp_path / 'c'}",
        )
        input_batches.make_batches(config, demo[0], input_batches.make_plan(config, demo[0]))
        assert given["augmentation"].hue == 3
        assert given["augmentation"].scale == (0.6, 1.4)
        assert given["cache"].files[0].parent == tmp_path / "c"
        assert (given["data_service"], given["num_epochs"]) == (None, None)
        config = tiny_config("training.data_service='grpc://localhost:1'")
        input_batches.make_batches(config, demo[0], input_batches.make_plan(config, demo[0]))
        assert given["cache"] is None
        assert given["data_service"] == "grpc://localhost:1"
        assert given["num_epochs"] == 2
