"""A load that repeats itself every week, but for six weeks with a day off."""

import numpy as np

from models.frame import Bools, Floats
from models.plan import Settings
from tests.benchmarks.encdec.model import learn
from tests.benchmarks.encdec.weeks import Judgement, drawn, judge, last


def weekly_load(seed: int) -> tuple[Floats, Bools]:
    """51 weeks of 4 points a day, weekends off; in 6 weeks one more day is."""
    chance = np.random.default_rng(seed)
    load = np.zeros((51, 7, 4))
    load[:, :5] = [0.3, 1.7, 1.7, 0.3]
    holidays = (chance.choice(51, 6, replace=False), chance.integers(0, 5, 6))
    load[holidays] = 0
    load += chance.normal(scale=0.1, size=load.shape)
    label = np.zeros(load.shape, bool)
    label[holidays] = True
    return load.reshape(-1, 1) + 5, label.ravel()


def run(
    values: Floats, label: Bools, length: int, settings: Settings, hidden: int = 40
) -> Judgement:
    weeks = drawn(label, length, settings.seed)
    sn, vn1 = last(weeks.sn, length), last(weeks.vn1, length)
    return judge(learn(values, length, sn, vn1, settings, hidden=hidden), weeks)
