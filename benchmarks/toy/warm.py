"""DVC and stages without the seconds that importing their packages takes, for toy pipelines.

    PATH=<folder>:$PATH python -m dvc repro        # <folder> as `warm_bin()` gives it

A server imports the packages once and forks for every `python -m dvc` or `python -m stages.…` that
the folder's `python` is asked for. The project's own files are read anew each time, from the
caller's folder.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from stages.runner import die_with_parent

PACKAGES = ("transformers.models.bert.modeling_bert", "transformers.optimization",
            "pydantic.dataclasses", "transformers.trainer_pt_utils", "ruamel.yaml", "pandas",
            "pyarrow.parquet", "matplotlib.figure", "matplotlib.backends.backend_agg",
            "matplotlib.backends.backend_svg", "sklearn.linear_model", "safetensors.torch",
            "safetensors.numpy", "datasets", "evaluate", "scipy.stats", "dvc.cli.parser",
            "dvc.repo.reproduce", "dvc.repo.status", "dvc.repo.index", "dvc.repo.artifacts",
            "dvc.repo.datasets", "dvc.repo.metrics", "dvc.repo.params", "dvc.repo.plots",
            "dvc.repo.stage", "dvc.repo.open_repo", "dvc.cachemgr", "dvc.data_cloud", "dvc.scm",
            "dvc.stage.run", "dvc.rwlock", "dvc.fs.dvc", "dvc.utils.strictyaml", "scmrepo.git",
            "dvc_data.index", "dvc_data.hashfile.status", "networkx")  # fmt: skip
CLIENT = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] != ["-m"] or sys.argv[2].split(".")[0] not in ("dvc", "stages", "studies"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
cores = sorted(os.sched_getaffinity(0))
call = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ), cores]).encode()
socket.send_fds(line, [len(call).to_bytes(4, "big")], [0, 1, 2])
line.sendall(call)
sys.exit(int(line.recv(8) or 137))  # nothing comes where the stage was killed
"""


@cache
def warm_bin() -> Path:
    """A folder whose `python` runs stages in the server, which ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="fishpal-warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = str(folder / "socket")
    (folder / "python").write_text(CLIENT.format(python=sys.executable, address=address))
    (folder / "python").chmod(0o755)
    command = [sys.executable, "-m", "benchmarks.toy.warm", address]
    root = Path(__file__).resolve().parents[2]
    server = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE)
    atexit.register(server.kill)
    if server.stdout is None or not server.stdout.readline():
        raise RuntimeError("the server of stages did not start")
    return folder


def compile_patterns() -> None:
    """Loading a model compiles a thousand patterns of renamed weights first; forks inherit them."""
    importlib.import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("")


def serve(address: str) -> None:
    """Import the packages, then fork for every call until killed; returns in the forked child."""
    for name in PACKAGES:
        importlib.import_module(name)
    compile_patterns()
    sys.dont_write_bytecode = False  # whatever the tests' environment says: clones run often
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        os.write(1, b"ready\n")
        gc.freeze()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
        while True:
            line, _ = listener.accept()
            if os.fork() == 0:
                break
            line.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, *_ = socket.recv_fds(line, 4, 3)
    with line.makefile("rb") as file:
        call = json.loads(file.read(int.from_bytes(size, "big")))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    code = run(*call)
    with contextlib.suppress(OSError):
        line.sendall(str(code).encode())
    os._exit(0)  # taking all the packages down would take seconds


def run(argv: list[str], folder: str, env: dict[str, str], cores: list[int]) -> int:
    """Run a module as `python -m` does; its exit code."""
    os.chdir(folder)
    os.sched_setaffinity(0, cores)
    os.environ.clear()
    os.environ.update(env)
    paths = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [folder, *paths]
    for name in [name for name in sys.modules if name.split(".")[0] in ("stages", "fishpal")]:
        del sys.modules[name]
    sys.argv = argv
    code: Any = 0
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    die_with_parent()
    serve(sys.argv[1])
