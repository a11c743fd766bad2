"""What every test gets: its own short TACIT_HOME, a clean environment, and the shared models cache.

Model files are large, so the cache is the machine's own (TACIT_MODELS, or the platform's): a model is fetched once and
verified each time.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from short_folder import short_folder

from tacit.protocol.home import Home, models_dir

if TYPE_CHECKING:
    from tacit.bench.postgresql_server import PostgresqlServer
    from tacit.server.store.store import Store

# How long an example takes says how busy the machine is.
settings.register_profile("tacit", deadline=None)
settings.load_profile("tacit")

# What is trained here is tiny: torch's threads would only wait for each other, and on a busy machine that is all they do.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SMALL_MODEL = "qwen2.5-coder-0.5b"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_url" in metafunc.fixturenames and metafunc.definition.get_closest_marker("each_database"):
        metafunc.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    """No test sees the developer's settings or home. TACIT_MODELS alone is kept. Yields the new TACIT_HOME."""
    for name in [name for name in os.environ if name.startswith("TACIT_") and name != "TACIT_MODELS"]:
        monkeypatch.delenv(name)
    folder = short_folder()
    monkeypatch.setenv("TACIT_HOME", str(folder))
    # Colours and widths of the terminal that runs the tests are not part of any output.
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(isolated: Path) -> Home:
    """This test's own TACIT_HOME."""
    return Home(isolated)


@pytest.fixture(scope="session")
def postgresql() -> Iterator["PostgresqlServer"]:
    """A real PostgreSQL server of these tests' own; without its programs, what needs it is skipped."""
    from tacit.bench.postgresql_server import MISSING, programs, running

    if programs() is None:
        pytest.skip(MISSING)
    folder = short_folder()
    with running(folder) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """Of an empty database: an empty string for SQLite in this test's home. A test marked `each_database` runs on each kind."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return ""
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    # Making a database takes longer than most tests.
    server.ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return server.url


@pytest.fixture
def store(home: Home, database_url: str) -> Iterator["Store"]:
    from tacit.server.store.store import Store

    opened = Store.open(home, database_url)
    yield opened
    opened.close()


@pytest.fixture
def empty_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A models cache of this test's own, empty."""
    folder = tmp_path / "models"
    monkeypatch.setenv("TACIT_MODELS", str(folder))
    return folder


@pytest.fixture(scope="session")
def model_cache() -> Path:
    """The machine's models cache."""
    folder = models_dir()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def small_model(model_cache: Path) -> Path:
    """The 0.5B's GGUF file, fetched through the catalogue if it is not there, verified."""
    from tacit.server.models import resolve

    return resolve(SMALL_MODEL).path


@pytest.fixture(scope="session")
def tiny_model(small_model: Path) -> Iterator[Path]:
    """A tiny real model with the 0.5B's vocabulary (tiny_model.py). TACIT_MODEL may name its path."""
    from tiny_model import write_tiny_model

    folder = short_folder()
    yield write_tiny_model(small_model, folder / "tiny.gguf")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def wheel_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """A package index of this test's own, for a real pip: call it with (package, version, content) to publish a wheel. module:
    one that it brings, empty.
    """
    import zipfile

    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    def publish(package: str, version: str, content: bytes, module: str = "") -> None:
        stem = package.replace("-", "_")
        with zipfile.ZipFile(folder / f"{stem}-{version}-py3-none-any.whl", "w") as wheel:
            info = f"{stem}-{version}.dist-info"
            wheel.writestr(f"{stem}/data.bin", content)
            if module:
                wheel.writestr(f"{module}/__init__.py", "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")

    return publish


@pytest.fixture
def boxed() -> Iterator[None]:
    """The sandbox."""
    from bubblewrap_here import bubblewrap

    with bubblewrap():
        yield
