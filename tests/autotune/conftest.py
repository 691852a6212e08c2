"""Studies need optuna and joblib, an extra; their tests are left out where those are missing."""

from __future__ import annotations

import importlib.util

collect_ignore = (
    ["test_compare.py", "test_engine.py", "test_kill.py", "test_sampler.py", "test_storage.py", "test_study.py"]
    if any(importlib.util.find_spec(name) is None for name in ("optuna", "joblib"))
    else []
)
