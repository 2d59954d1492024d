"""Every benchmark: `python -m benchmarks [name ...]`, or `make bench`. Prints ratios measured in one run; gates nothing."""

import importlib
import pkgutil
import sys

import benchmarks


def main() -> None:
    names = sys.argv[1:] or [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_")]
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n== {name}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
        (getattr(module, "run", None) or module.main)()


if __name__ == "__main__":
    main()
