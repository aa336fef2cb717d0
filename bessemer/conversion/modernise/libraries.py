"""Names that SciPy, scikit-learn, pandas, Matplotlib, torchvision and Pillow have moved or taken away.

Only what is the same under its new name: what got other defaults (`cross_val_score`, `simps`) or went without
a heir (`scipy.misc.imread`) is named and stays. torchvision is not installed beside this: its rules are those
of its release notes (0.13 took `Scale` and `RandomSizedCrop` away, which called the others and warned).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import libcst as cst

from bessemer.conversion.modernise.base import Case, Change, Code, Found, Leave
from bessemer.conversion.modernise.edits import Edit
from bessemer.conversion.modernise.renaming import New, renamed
from bessemer.conversion.syntax import source_module

_MOVED: Mapping[str, tuple[str, str, str]] = {
    "scipy.misc": ("scipy.special", "SciPy 1.3", "logsumexp comb factorial"),
    "scipy.signal": (
        "scipy.signal.windows",
        "SciPy 1.13",
        "hann hamming gaussian blackman bartlett kaiser boxcar triang tukey cosine",
    ),
    "scipy.ndimage.filters": (
        "scipy.ndimage",
        "SciPy 1.8",
        "gaussian_filter gaussian_filter1d median_filter uniform_filter maximum_filter minimum_filter "
        "convolve convolve1d correlate sobel laplace",
    ),
    "scipy.ndimage.interpolation": (
        "scipy.ndimage",
        "SciPy 1.8",
        "zoom rotate shift map_coordinates affine_transform",
    ),
    "scipy.ndimage.morphology": (
        "scipy.ndimage",
        "SciPy 1.8",
        "binary_dilation binary_erosion binary_opening binary_closing binary_fill_holes "
        "distance_transform_edt",
    ),
    "scipy": ("numpy", "SciPy 1.12", "interp mean array zeros ones linspace arange dot std median"),
    "sklearn.cross_validation": ("sklearn.model_selection", "scikit-learn 0.20", "train_test_split"),
    "sklearn.grid_search": ("sklearn.model_selection", "scikit-learn 0.20", "ParameterGrid"),
    "sklearn.datasets.samples_generator": (
        "sklearn.datasets",
        "scikit-learn 0.24",
        "make_blobs make_classification make_moons make_circles make_regression make_swiss_roll",
    ),
    "sklearn.metrics.classification": (
        "sklearn.metrics",
        "scikit-learn 0.24",
        "accuracy_score f1_score precision_score recall_score confusion_matrix classification_report",
    ),
    "sklearn.manifold.t_sne": ("sklearn.manifold", "scikit-learn 0.24", "TSNE"),
    "sklearn.decomposition.pca": ("sklearn.decomposition", "scikit-learn 0.24", "PCA"),
    "sklearn.preprocessing.label": (
        "sklearn.preprocessing",
        "scikit-learn 0.24",
        "LabelEncoder LabelBinarizer",
    ),
    "sklearn.preprocessing.data": (
        "sklearn.preprocessing",
        "scikit-learn 0.24",
        "StandardScaler MinMaxScaler normalize scale",
    ),
    "pandas.tools.plotting": ("pandas.plotting", "pandas 0.25", "scatter_matrix"),
}
TABLE = {
    **{
        f"{old}.{name}": New(f"{new}.{name}", since, is_gone="ndimage" not in old)
        for old, (new, since, names) in _MOVED.items()
        for name in names.split()
    },
    "scipy.randn": New("numpy.random.randn", "SciPy 1.12"),
    "scipy.rand": New("numpy.random.rand", "SciPy 1.12"),
    "scipy.integrate.trapz": New("scipy.integrate.trapezoid", "SciPy 1.14"),
    "scipy.integrate.cumtrapz": New("scipy.integrate.cumulative_trapezoid", "SciPy 1.14"),
    "pandas.datetime": New("datetime.datetime", "pandas 2.0"),
    "PIL.Image.ANTIALIAS": New("PIL.Image.LANCZOS", "Pillow 10", "it was the same filter"),
    "PIL.Image.LINEAR": New("PIL.Image.BILINEAR", "Pillow 10", "it was the same filter"),
    "PIL.Image.CUBIC": New("PIL.Image.BICUBIC", "Pillow 10", "it was the same filter"),
    "matplotlib.pyplot.cm.spectral": New("matplotlib.pyplot.cm.nipy_spectral", "Matplotlib 2.2"),
    "matplotlib.cm.spectral": New("matplotlib.cm.nipy_spectral", "Matplotlib 2.2"),
    "torchvision.transforms.Scale": New(
        "torchvision.transforms.Resize", "torchvision 0.13", "its younger name"
    ),
    "torchvision.transforms.RandomSizedCrop": New(
        "torchvision.transforms.RandomResizedCrop", "torchvision 0.13", "its younger name"
    ),
}
_GONE = {
    "scipy.misc": "imread imresize imsave imshow toimage fromimage bytescale imrotate imfilter",
    "scipy.ndimage": "imread",
    "scipy.integrate": "simps",
    "sklearn.cross_validation": (
        "KFold StratifiedKFold cross_val_score cross_val_predict LeaveOneOut ShuffleSplit"
    ),
    "sklearn.grid_search": "GridSearchCV RandomizedSearchCV",
    "sklearn.preprocessing": "Imputer",
    "sklearn.datasets": "load_boston fetch_mldata",
}
_LEFT = {f"{module}.{name}" for module, names in _GONE.items() for name in names.split()}
WORDS = frozenset(x.rpartition(".")[2] for x in [*TABLE, *_LEFT]) | {"joblib"}


def find(code: Code) -> Iterator[Found]:
    """Yield what these libraries do not have any more."""
    yield from renamed(code, TABLE)
    for statement in code.imports():
        assert not isinstance(statement.names, cst.ImportStar)
        module = source_module(statement)
        gone = [x for x in statement.names if f"{module}.{x.evaluated_name}" in _LEFT]
        for alias in gone:
            yield Leave(statement, f"{module}.{alias.evaluated_name} is gone, and nothing is the same")
        if module == "sklearn.externals" and [x.evaluated_name for x in statement.names] == ["joblib"]:
            alias = statement.names[0]
            text = f"import joblib as {alias.evaluated_alias}" if alias.asname else "import joblib"
            edit = Edit(code.text.span(statement), (text,))
            yield Change(statement, (edit,), "joblib is a library of its own since scikit-learn 0.23")
    for name, full in code.read:
        if full in _LEFT:
            yield Leave(name, f"{full} is gone, and nothing is the same")


CASES = (
    Case(
        "SciPy's functions of numbers",
        "from scipy.misc import logsumexp, comb\nresult = comb(4, 2)",
        "from scipy.special import logsumexp, comb\nresult = comb(4, 2)",
        "np.float64(6.0)",
        needs=("scipy",),
    ),
    Case(
        "by way of the module",
        "from scipy import signal\nresult = signal.hann(3)[1]",
        "from scipy import signal; import scipy.signal.windows\nresult = scipy.signal.windows.hann(3)[1]",
        "np.float64(1.0)",
        needs=("scipy",),
    ),
    Case(
        "filters of images",
        "from scipy.ndimage.filters import gaussian_filter\nresult = gaussian_filter([1.0, 1.0], 1)",
        "from scipy.ndimage import gaussian_filter\nresult = gaussian_filter([1.0, 1.0], 1)",
        fails=False,
        needs=("scipy",),
    ),
    Case(
        "what SciPy had of NumPy",
        "from scipy import interp\nresult = interp(0.5, [0, 1], [0, 1])",
        "from numpy import interp\nresult = interp(0.5, [0, 1], [0, 1])",
        "np.float64(0.5)",
        needs=("scipy",),
    ),
    Case(
        "an area",
        "from scipy.integrate import trapz\nresult = trapz([1.0, 2.0])",
        "from scipy.integrate import trapezoid as trapz\nresult = trapz([1.0, 2.0])",
        "np.float64(1.5)",
        needs=("scipy",),
    ),
    Case("pictures that SciPy read", "from scipy.misc import imread, imresize", None, asks=True),
    Case(
        "a split of data",
        "from sklearn.cross_validation import train_test_split\n"
        "result = [len(x) for x in train_test_split([1, 2, 3, 4])]",
        "from sklearn.model_selection import train_test_split\n"
        "result = [len(x) for x in train_test_split([1, 2, 3, 4])]",
        "[3, 1]",
        needs=("sklearn",),
    ),
    Case(
        "what scikit-learn brought along",
        "from sklearn.externals import joblib\nresult = joblib.__name__",
        "import joblib\nresult = joblib.__name__",
        "'joblib'",
        needs=("sklearn",),
    ),
    Case("a search with other defaults", "from sklearn.grid_search import GridSearchCV", None, asks=True),
    Case(
        "a filter of pictures",
        "from PIL import Image\nresult = int(Image.ANTIALIAS)",
        "from PIL import Image\nresult = int(Image.LANCZOS)",
        "1",
        needs=("PIL",),
    ),
    Case(
        "transforms",
        "from torchvision import transforms\nresult = str(transforms.Scale(4))",
        "from torchvision import transforms\nresult = str(transforms.Resize(4))",
        needs=("torchvision",),
        runs=False,
    ),
)
