"""What somebody brings is opened without running its code, understood, and held against what it becomes."""

from __future__ import annotations

import io
import os
import pickle
import socket
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC

from detection.engine import confinement
from detection.engine.adapters import Adapter
from detection.training.importing import pickles
from detection.training.importing.questions import Options, answer
from detection.training.importing.sources import CannotImport, Foreign, Kind, open_source, recognise
from tests.conftest import lacking

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
SIDE = 8
SAID = Options("a", "1", colour="rgb", scale="0..1", positive_class="real", threshold=0.7)


def network(*last: keras.layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), *(last or (keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid")))]
    )


def opened(path: Path, **options) -> Foreign:
    return open_source(path, **{"family": None, "input_size": None, "trusted": False, **options})


def learned(model):
    """The model, trained on flattened pictures of noise."""
    rng = np.random.default_rng(1)
    return model.fit(rng.random((60, SIDE * SIDE * 3)), np.arange(60) % 2)


# -- Files that might be programs


def test_a_lambda_layer_is_code_and_stays_closed(tmp_path):
    model = network(keras.layers.Flatten(), keras.layers.Lambda(lambda x: x[:, :1]))
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        with pytest.raises(CannotImport, match="Lambda layers hold code"):
            opened(tmp_path / name)


def test_a_saved_model_that_reads_files_is_refused_before_it_is_loaded(tmp_path):
    class Spy(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3))])
        def serve(self, crops):
            secret = tf.strings.length(tf.io.read_file("/etc/hostname"))
            return tf.reduce_mean(crops, axis=(1, 2, 3))[:, None] + tf.cast(secret, tf.float32)

    spy = Spy()
    tf.saved_model.save(spy, str(tmp_path / "spy"), signatures={"serving_default": spy.serve})
    with pytest.raises(CannotImport, match="ReadFile"):
        opened(tmp_path / "spy")


class Resource(tf.saved_model.experimental.TrackableResource):
    """Writes a file as soon as the model that it belongs to is loaded."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = str(path)

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

    def _initialize(self):
        numbers = [tf.constant([1.0])]
        tf.raw_ops.SaveV2(prefix=self.path, tensor_names=["x"], shape_and_slices=[""], tensors=numbers)


class Writer(tf.Module):
    def __init__(self, path: Path, *, loading: bool):
        super().__init__()
        self.path = path
        self.loading = Resource(path) if loading else None

    @tf.function(input_signature=[tf.TensorSpec((None, SIDE, SIDE, 3))])
    def serve(self, crops):
        if self.loading is None:
            tf.print("x", output_stream=f"file://{self.path}")
        else:
            self.loading.resource_handle  # noqa: B018  (is captured, so it is saved)
        return tf.reduce_mean(crops, axis=(1, 2, 3))[:, None]


@pytest.mark.parametrize(("loading", "step"), [(False, "PrintV2"), (True, "SaveV2")])
def test_a_saved_model_that_writes_files_is_refused_before_it_is_loaded(tmp_path, loading, step):
    writer = Writer(tmp_path / "written", loading=loading)
    tf.saved_model.save(writer, str(tmp_path / "writer"), signatures={"serving_default": writer.serve})
    with pytest.raises(CannotImport, match=step):
        opened(tmp_path / "writer")
    assert [path.name for path in tmp_path.iterdir()] == ["writer"]


@pytest.mark.parametrize("content", [b"no program", b""])
def test_what_only_looks_like_a_saved_model_is_refused(tmp_path, content):
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(CannotImport):
        opened(tmp_path)


class Malice:
    """Unpickled, it does what its maker likes."""

    def __init__(self, act, *arguments):
        self.acts = act, arguments

    def __reduce__(self):
        return self.acts


def test_a_pickle_is_refused_unless_somebody_trusts_it(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Malice(os.mkdir, str(tmp_path / "made"))))
    with pytest.raises(CannotImport, match="--i-trust-this-pickle"):
        opened(path)
    assert not (tmp_path / "made").exists()


HOSTILE = """
import ctypes, fcntl, os, resource, socket
from pathlib import Path

def queue_signal():
    if ctypes.CDLL(None, use_errno=True).syscall(129, {process}, 0, bytes(128)):
        raise OSError(ctypes.get_errno(), "rt_sigqueueinfo")

acts = [
    lambda: Path({folder!r}, "written").write_text("x"),
    lambda: Path({path!r}).unlink(),
    lambda: os.utime({path!r}),
    lambda: os.kill({process}, 0),
    lambda: os.setpriority(os.PRIO_PROCESS, {process}, 19),
    lambda: resource.prlimit({process}, resource.RLIMIT_CORE),
    lambda: fcntl.fcntl(1, 8, {process}),
    lambda: fcntl.ioctl(1, 0x5412, b"x"),
    lambda: socket.create_connection(("127.0.0.1", {port})),
    lambda: os.posix_spawn("/bin/touch", ["touch", {folder!r} + "/spawned"], {{}}),
]
if os.uname().machine == "x86_64":
    acts.append(queue_signal)
done = []
for number, act in enumerate(acts):
    try:
        act()
        done.append(number)
    except PermissionError:
        pass
    except OSError as error:
        done.append((number, error))
free = [status for status in Path("/proc/self/task").glob("*/status") if "Seccomp:\\t0" in status.read_text()]
terminal = os.getsid(0) == os.getsid({process})
raise ValueError(f"done: {{done}}, free threads: {{len(free)}}, same session: {{terminal}}")
"""


@pytest.fixture
def cage() -> None:
    if confinement.pyseccomp is None:
        lacking("needs seccomp (Debian: apt install libseccomp2)")


@pytest.mark.usefixtures("cage")
def test_a_pickle_that_is_trusted_can_write_nothing_and_call_nobody(tmp_path):
    path = tmp_path / "model.pkl"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        code = HOSTILE.format(
            folder=str(tmp_path), path=str(path), process=os.getpid(), port=listening.getsockname()[1]
        )
        path.write_bytes(pickle.dumps(Malice(exec, code, {})))
        with pytest.raises(CannotImport, match=r"done: \[\], free threads: 0, same session: False"):
            opened(path, trusted=True)
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_cage_no_pickle_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(confinement, "pyseccomp", None)
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Malice(os.mkdir, str(tmp_path / "made"))))
    with pytest.raises(pickles.CannotRebuild, match="no seccomp"):
        pickles.main(path, io.BytesIO())
    assert not (tmp_path / "made").exists()


@pytest.mark.usefixtures("cage")
def test_a_keras_object_leaves_that_process_as_data(tmp_path):
    layers = [keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization(), keras.layers.Flatten()]
    model = network(*layers, keras.layers.Dense(2, activation="softmax"))
    path = tmp_path / "model.pkl"
    # One that also prints, which must not get into the answer.
    path.write_bytes(pickle.dumps(Malice(eval, "(print('hello'), model)[1]", {"model": model})))
    found = pickles.unpickle(path)
    crops = np.random.default_rng(2).random((3, SIDE, SIDE, 3)).astype(np.float32)
    assert np.asarray(found(crops)) == pytest.approx(np.asarray(model(crops)), abs=1e-6)


def test_a_keras_object_with_code_does_not():
    code = network(keras.layers.Flatten(), keras.layers.Lambda(lambda x: x[:, :1]))
    with pytest.raises(ValueError, match="ambda"):
        pickles.from_data(pickles.as_data(code))


# -- What scikit-learn makes


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        SGDClassifier(loss="log_loss", random_state=1),
        MLPClassifier((5, 4), activation="tanh", max_iter=400, random_state=1),
        make_pipeline(StandardScaler(), PCA(6, whiten=True, random_state=1), LogisticRegression()),
        make_pipeline(MinMaxScaler(), MLPClassifier((4,), activation="logistic", max_iter=900, random_state=1)),
    ],
    ids=str,
)
def test_a_linear_model_or_perceptron_is_rebuilt_and_answers_the_same(model):
    learned(model)
    rebuilt = pickles.rebuild(model)
    pickles.compare(model, rebuilt)
    pixels = np.random.default_rng(3).random((5, SIDE, SIDE, 3)).astype(np.float32)
    expected = model.predict_proba(pixels.reshape(5, -1))[:, 1]
    assert np.asarray(rebuilt(pixels))[:, 0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (RandomForestClassifier(2, random_state=1), "RandomForestClassifier cannot be rebuilt"),
        (LinearSVC(), "LinearSVC cannot be rebuilt"),
        (SGDClassifier(random_state=1), "hinge gives no probability"),
    ],
)
def test_what_has_no_layers_is_refused_by_name(model, reason):
    with pytest.raises(pickles.CannotRebuild, match=reason):
        pickles.rebuild(learned(model))


def test_features_that_are_no_picture_are_refused():
    model = LogisticRegression().fit(np.eye(10), np.arange(10) % 2)
    with pytest.raises(pickles.CannotRebuild, match="10 values"):
        pickles.rebuild(model)


# -- What a model tells about itself, and what must be said


def test_weights_alone_need_to_know_whose_they_are(tmp_path):
    network().save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "model.weights.h5").rename(tmp_path / "model.h5")
    assert recognise(tmp_path / "model.h5") is Kind.WEIGHTS
    with pytest.raises(CannotImport, match="--family"):
        opened(tmp_path / "model.h5")
    with pytest.raises(CannotImport, match="--input-size"):
        opened(tmp_path / "model.h5", family="efficientnetb0")
    with pytest.raises(CannotImport, match="other weights than those of our meso4"):
        opened(tmp_path / "model.h5", family="meso4")
    with pytest.raises(CannotImport, match="no family resnet; there are: mobilenetv2"):
        opened(tmp_path / "model.h5", family="resnet")


def test_a_whole_model_has_no_family(tmp_path):
    network().save(tmp_path / "model.keras")
    with pytest.raises(CannotImport, match="whole model"):
        opened(tmp_path / "model.keras", family="meso4")


@pytest.mark.parametrize("name", ["folder", "model.txt", "missing.keras"])
def test_what_is_no_model_is_refused(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "model.txt").write_text("no model")
    with pytest.raises(CannotImport):
        opened(tmp_path / name)


def test_what_takes_no_picture_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(CannotImport, match="square colour pictures"):
        opened(tmp_path / "model.keras")


@pytest.fixture(scope="module")
def sigmoid() -> Foreign:
    return Foreign(Kind.KERAS, (SIDE, SIDE, 3), "float32", 1, "sigmoid")


def test_a_rule_about_real_is_turned_into_one_about_fake(sigmoid):
    """The old server's rule: below 0.7 it is fake."""
    answers = answer(SAID, sigmoid)
    assert answers.adapter.positive == "real"
    assert (answers.manipulated, answers.suspicious) == (pytest.approx(0.3), pytest.approx(0.3))
    answers = answer(replace(SAID, suspicious=0.9), sigmoid)
    assert answers.suspicious == pytest.approx(0.1)


def test_what_the_last_layer_shows_is_not_asked_for(sigmoid):
    assert answer(SAID, sigmoid).adapter.output == "probability"
    assert answer(SAID, replace(sigmoid, activation="linear")).adapter.output == "logit"


def test_without_a_terminal_all_that_is_missing_is_said_at_once(sigmoid, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CannotImport) as caught:
        answer(Options("a", "1"), replace(sigmoid, columns=2, activation=None, shape=(None, None, 3)))
    for option in ("input-size", "colour", "scale", "output", "positive-class", "index", "threshold"):
        assert f"--{option}" in str(caught.value)


def test_on_a_terminal_it_asks_until_the_answer_is_one(sigmoid, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("green\nbgr\n0..1\nreal\n0.7\n"))
    answers = answer(Options("a", "1"), sigmoid)
    assert answers.adapter == Adapter("bgr", "0..1", "probability", "real")
    assert answers.manipulated == pytest.approx(0.3)
    said = capsys.readouterr()
    assert "expected rgb or bgr" in said.out + said.err


@pytest.mark.parametrize(
    "said",
    [{"threshold": 1.0}, {"suspicious": 0.6}, {"input_size": 9}, {"colour": "grey"}, {"index": 3}],
)
def test_what_does_not_fit_is_refused(sigmoid, said):
    model = replace(sigmoid, columns=2) if "index" in said else sigmoid
    with pytest.raises(CannotImport):
        answer(replace(SAID, **said), model)


@pytest.fixture(scope="module")
def native() -> Foreign:
    return Foreign(Kind.WEIGHTS, (SIDE, SIDE, 3), "uint8", 1, "linear", native=True)


def test_a_rule_about_real_counts_for_one_of_our_own_families_too(native):
    said = Options("a", "1", positive_class="real", threshold=0.7)
    assert answer(said, native).manipulated == pytest.approx(0.3)
    assert answer(replace(said, positive_class=None), native).manipulated == 0.7


@pytest.mark.parametrize("word", [{"colour": "bgr"}, {"scale": "0..1"}, {"output": "logit"}, {"index": 0}])
def test_what_one_of_our_own_families_does_not_need_is_not_silently_left_out(native, word):
    with pytest.raises(CannotImport, match=f"leave out --{next(iter(word))}"):
        answer(Options("a", "1", threshold=0.7, **word), native)


def test_a_logit_of_pixels_that_are_no_whole_numbers_is_not_one_of_ours(tmp_path):
    crops = keras.Input((SIDE, SIDE, 3))
    logit = keras.layers.Dense(1)(keras.layers.Flatten()(crops))
    keras.Model(crops, {"logit": logit}).save(tmp_path / "model.keras")
    assert not opened(tmp_path / "model.keras").native
