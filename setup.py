"""Says which folders are packages; everything else about the project stands in pyproject.toml."""

from setuptools import find_packages, setup

# configs/ lies at the top level, where people look for it, and travels inside the wheel as
# keras_retinanet/configs, where an installed package can find it.
setup(
    packages=[
        *find_packages(include=["keras_retinanet", "keras_retinanet.*"]),
        "keras_retinanet.configs",
    ],
    package_dir={"keras_retinanet.configs": "configs"},
    package_data={
        "keras_retinanet": ["py.typed"],
        "keras_retinanet.reports": ["*.html", "*/*.html"],
        "keras_retinanet.configs": ["*.yaml", "data/*.yaml"],
        "keras_retinanet.weights": ["published.yaml"],
        "keras_retinanet.paper": ["quick.yaml", "experiments/*.yaml"],
    },
)
