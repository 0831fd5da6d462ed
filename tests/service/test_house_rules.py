"""Laws of the HTTP storey that hold without a running service."""

import subprocess
import sys

from typer.testing import CliRunner

from service.cli.main import build, load
from service.cli.table import COMMANDS, PANELS

HEAVY = ("torch", "rdkit", "numpy", "scipy", "chemistry", "models")


def fresh(code):
    """Run code in a new interpreter and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_the_application_is_quick_and_loads_nothing_heavy():
    code = (
        "import time; begun = time.process_time(); import fastapi; middle = time.process_time(); "
        "import service.app; print(time.process_time() - begun, middle - begun); import sys; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    for _ in range(5):
        times, heavy = fresh(code).splitlines()
        assert heavy == "[]"
        whole, framework = map(float, times.split())
        # On a busy machine everything takes longer, the framework too: then ours may take as long again.
        if whole < max(1.0, 2 * framework):
            return
    raise AssertionError(f"the import takes {whole:.2f} s, of which FastAPI {framework:.2f} s")


def test_showing_help_loads_neither_pydantic_nor_an_http_library():
    code = (
        "import sys; from service.cli.main import build; from typer.testing import CliRunner; "
        "CliRunner().invoke(build(['--help']), ['--help']); "
        "print([name for name in ('pydantic', 'httpx', 'fastapi', 'celery', 'torch') if name in sys.modules])"
    )
    assert fresh(code) == "[]"


def test_every_command_of_this_storey_is_where_the_table_says_and_explains_itself():
    for name, (target, _) in COMMANDS.items():
        if not target.startswith("service."):
            continue
        assert load(target).__doc__, name
        result = CliRunner().invoke(build([*name.split(), "--help"]), [*name.split(), "--help"])
        assert result.exit_code == 0, result.output


def test_every_command_stands_in_one_panel_of_the_help():
    listed = [name for names in PANELS.values() for name in names]
    assert sorted(listed) == sorted({name.split()[0] for name in COMMANDS})
