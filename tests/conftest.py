"""What every test may ask for: the real default model and the folder of this checkout."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODEL = "models/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"


@pytest.fixture(scope="session")
def default_model_path() -> Path:
    """The default model's GGUF file, from $ET2L_MODEL or the checkout. Missing is a failure, not a skip."""
    path = Path(os.environ.get("ET2L_MODEL", ROOT / MODEL))
    if not path.is_file():
        pytest.fail(f"{path} is missing: run `make setup` (or `et2l model fetch`)")
    return path
