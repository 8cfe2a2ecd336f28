import os
import sys

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine, and nothing of the code. CI tries the same examples each
# time, so that it judges the change and not the draw; everybody else tries new ones.
settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def jupyter_data(tmp_path_factory):
    """What servers of the tests keep of their runs does not end up among the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_DATA_DIR", str(tmp_path_factory.mktemp("jupyter-data")))
        yield


@pytest.fixture(autouse=True)
def no_widget_stays():
    """A widget that a test leaves would go on looking for its server, and start one."""
    yield
    if "ipywidgets" in sys.modules:
        sys.modules["ipywidgets"].Widget.close_all()
