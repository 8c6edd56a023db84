"""Checkpoints that are damaged at random, always in the same ways: refused in a sentence, or of no harm."""

import copy
import functools
import random

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_croloss import load_pretrained
from lightning_croloss.errors import NonFiniteLossError
from tests.data_for_tests import ClusteredData, quiet_trainer, small_model

pytestmark = pytest.mark.filterwarnings("ignore")

#: Damaged files that each test tries where the budget is 1.
USUAL = 60
#: Resumed runs that are tried, which take longer.
RESUMED = 20

ODD = [
    None,
    True,
    -1,
    0,
    2**63,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "\0",
    "../x",
    "{class_path: os.system}",
    b"x",
    [],
    [[]],
    {},
    {"class_path": "os.system", "init_args": {"command": "false"}},
    {"class_path": None},
    (1, 2),
    torch.zeros(0),
    torch.full((3,), float("nan")),
    torch.tensor(2**40),
    torch.zeros(1).expand(10**9),
]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest")
    trainer = trainer_of(folder)
    trainer.fit(small_model(), ClusteredData())
    return folder / "step=2.ckpt"


def trainer_of(folder, **options):
    callbacks = [
        ModelCheckpoint(folder, "{step}", every_n_train_steps=2, save_top_k=-1),
        EarlyStopping("val/recall@5", mode="max"),
    ]
    return quiet_trainer(enable_checkpointing=True, callbacks=callbacks, limit_train_batches=3, **options)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Flip bits, cut, repeat or overwrite, anywhere."""
    made = bytearray(content)
    kind = chance.choice(["flip", "flip", "cut", "zeros", "moved", "twice"])
    at = chance.randrange(len(made))
    size = chance.randrange(1, 200)
    if kind == "flip":
        for _ in range(chance.choice([1, 1, 1, 5])):
            made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del made[at:]
    elif kind == "zeros":
        made[at : at + size] = bytes(len(made[at : at + size]))
    elif kind == "moved":
        del made[at : at + size]
    else:
        made[at:at] = made[at : at + size]
    return bytes(made)


def replaced(content, chance: random.Random):
    """Put something odd in some place of a checkpoint, or take that away."""
    here = content
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = chance.choice(keys)
        inner = here[key]
        if not isinstance(inner, (dict, list)) or not inner or chance.random() < 0.15:
            break
        here = inner
    if chance.random() < 0.2 and isinstance(here, dict):
        del here[key]
    elif chance.random() < 0.1 and isinstance(here, dict):
        here[chance.choice(["step", "load_state_dict", "__class__", "class_path", "x"])] = chance.choice(ODD)
    else:
        here[key] = copy.deepcopy(chance.choice(ODD))


def outcome(call):
    """Return what the refusal says, or nothing and the result."""
    try:
        return "", call()
    except (ValueError, NonFiniteLossError) as error:
        return str(error) or "nothing is said", None


def test_damaged_files_are_refused_or_as_they_were(honest, tmp_path, fuzz_budget):
    budget = USUAL * fuzz_budget
    content, expected = honest.read_bytes(), load_pretrained(honest)
    refused = 0
    for seed in range(budget):
        path = tmp_path / "damaged.ckpt"
        path.write_bytes(damaged(content, random.Random(seed)))
        said, model = outcome(lambda path=path: load_pretrained(path))
        refused += model is None
        assert "\n" not in said, seed
        if model is None:
            continue
        for name, weights in expected.state_dict().items():
            assert torch.equal(model.state_dict()[name], weights), (seed, name)
        assert model.hparams == expected.hparams, seed
    assert refused > budget // 2


def test_other_values_are_refused_or_can_be_used(honest, tmp_path, fuzz_budget):
    budget = USUAL * fuzz_budget
    content = torch.load(honest, weights_only=True)
    refused = 0
    for seed in range(budget):
        changed = copy.deepcopy(content)
        replaced(changed[random.Random(seed).choice(PARTS)], random.Random(seed))
        torch.save(changed, tmp_path / "changed.ckpt")
        said, model = outcome(lambda: load_pretrained(tmp_path / "changed.ckpt"))
        refused += model is None
        assert "\n" not in said, seed
        assert len(said) < 1000, seed
        if model is not None:
            _, scores = model.recommend([[1, 2, 3]], 3)
            assert torch.isfinite(scores).all(), seed
    assert refused > budget // 4


PARTS = ["hyper_parameters", "hyper_parameters", "lightning_croloss", "state_dict"]
STATES = ["optimizer_states", "loops", "callbacks", "lightning_croloss", "hyper_parameters"]


def test_runs_of_other_values_are_refused_or_go_on(honest, tmp_path, fuzz_budget):
    budget = RESUMED * fuzz_budget
    content = torch.load(honest, weights_only=True)
    refused = 0
    for seed in range(budget):
        changed = copy.deepcopy(content)
        replaced(changed[random.Random(seed).choice(STATES)], random.Random(seed))
        torch.save(changed, tmp_path / "changed.ckpt")
        trainer = trainer_of(tmp_path / "run", max_epochs=2)
        resume = functools.partial(trainer.fit, small_model(), ClusteredData())
        said, _ = outcome(functools.partial(resume, ckpt_path=tmp_path / "changed.ckpt", weights_only=True))
        refused += bool(said)
        assert "\n" not in said, seed
    assert refused > budget // 8
