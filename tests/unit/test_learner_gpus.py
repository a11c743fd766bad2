"""Which GPUs a learner sees is asked of the server, and said before anything that reads it is imported. Real processes."""

import subprocess
import sys

SERVER = """
import asyncio, os, sys
from types import ModuleType, SimpleNamespace as Some

class Client:
    ready = 0
    def __init__(self, socket): pass
    async def __aenter__(self): return self
    async def __aexit__(self, *why): pass
    async def status(self):
        assert "torch" not in sys.modules
        Client.ready += 1
        return Some(engine_ready=Client.ready > 1, learning_gpus=(1, 3) if Client.ready > 1 else ())
"""

NIGHTLY = """
from tacit.learner import __main__ as learner

async def learn(*given):
    print(Client.ready, os.environ["CUDA_VISIBLE_DEVICES"], os.environ["CUDA_DEVICE_ORDER"])
    return Some(state="skipped", message="", adapter="", run_id="")

run = sys.modules["tacit.learner.run"] = ModuleType("run")
run.LearnOptions, run.learn = dict, learn
learner.TacitClient, learner.LOOK_SECONDS = Client, 0
sys.exit(learner.main(["--project", "p", "--trigger", "nightly"]))
"""

BY_HAND = """
from tacit.cli import learning

def ask(question):
    Client.ready = 1
    asyncio.run(question(Client(None)))
    print(os.environ["CUDA_VISIBLE_DEVICES"])
    sys.exit(0)

learning._ask = ask
learning.learn(now=True, project="p")
"""


def said(script: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", SERVER + script], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout or done.stderr


def test_a_night_waits_for_the_engine_which_decides() -> None:
    code, words = said(NIGHTLY)
    assert code == 3 and words.splitlines()[0] == "2 1,3 PCI_BUS_ID", words


def test_by_hand_nothing_is_waited_for() -> None:
    assert said(BY_HAND) == (0, "1,3\n")
