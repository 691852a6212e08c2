"""All that measures or learns: spaces and their order, devices, studies, recordings, hooks into other tuners.

    space, rank           what may be tried, and in which order
    devices/, archives/   where measurements come from: one file each
    study, sampler        who tries what, resumable and shared
    hooks                 prune, configs, flex_options: the model in other people's tuners
"""

from __future__ import annotations
