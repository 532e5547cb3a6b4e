# make figures   every table and figure, at the scale this machine can carry (SCALE=smoke|laptop|overnight|paper, NB=05_svhn,
#                ARGS='-p epochs 60' for the notebooks' parameters, ARGS=--kept for those of the results that are here,
#                ARGS='--minutes 10' for as many as fit, most valuable first)
# make test      all tests
# make docs      the site and its PDF, in _docs (then: python -m http.server -d _docs)
# make verify    whether every kept result can be traced; with NB=05_svhn, whether it comes out again
# make screens   the kept results on the first screens of the notebooks, and in README
# make oneclick  links to Colab and Kaggle, and the cell that installs there, in the paper notebooks: for the remote `origin` if it
#                is on GitHub, else for git_url of settings.ini, a placeholder until the project is published
# make hooks     before each commit export, clean and check; notebooks merge by nbdev's driver
# make lab       the notebooks in JupyterLab
# make audit     whether the locked packages have known vulnerabilities (asks PyPI)
# make lock      lock-py311-linux.txt: every package with its hashes, for Python 3.11 on Linux
# make bundle    runs/bundle/, all that a GPU machine without a network needs; there: ./run --minutes 10
#                (PART=A|B|C|D: small copies, see bundle/README.md)
PYTHON ?= python3
SCALE ?= auto
BIN := .venv/bin

.PHONY: figures test docs verify screens oneclick hooks lab bundle audit lock setup
setup: .venv/.ready

.venv/.ready: settings.ini constraints.txt setup.py pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

figures: setup
	$(BIN)/dcgan-figures $(NB) --scale $(SCALE) $(ARGS)

test: setup
	@# of the library; the notebooks of the paper run in tests/test_notebooks.py
	OMP_NUM_THREADS=1 $(BIN)/nbdev_test --path nbs/lib --n_workers 2 --timing --do_print
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -q -rs -n 2 --dist loadgroup --durations=15 tests

verify: setup
	$(BIN)/dcgan-verify $(NB)

screens: setup
	$(BIN)/python -c 'from dcgan.tools.kept import fill_first_screens; print(*fill_first_screens())'
	$(MAKE) -B README.md

oneclick: setup
	$(BIN)/python -c 'from dcgan.tools.oneclick import add_all; print(*add_all())'

docs: setup docs/node_modules/.ready
	$(BIN)/python docs/build.py

docs/node_modules/.ready: docs/package.json
	@command -v npm > /dev/null || { echo 'make docs needs npm (it comes with Node.js), for MathJax and onnxruntime-web'; exit 1; }
	npm install --prefix docs --ignore-scripts --no-package-lock --no-audit --no-fund
	touch $@

hooks: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" nbdev_install_hooks
	cp .githooks/pre-commit "$$(git rev-parse --git-path hooks)"

lab: setup
	$(BIN)/python -m pip install -q --disable-pip-version-check jupyterlab
	$(BIN)/jupyter lab nbs

bundle: setup
	$(BIN)/python bundle/pack.py $(PART) $(ARGS)

README.md: nbs/index.ipynb $(wildcard figures/table?.md)
	$(PYTHON) -c "import json, re; from pathlib import Path; \
	cells = json.loads(Path('nbs/index.ipynb').read_text())['cells']; \
	text = '\n\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown'); \
	Path('README.md').write_text(re.sub(r'<!-- (figures/\S+) -->', lambda m: Path(m[1]).read_text().strip(), text) + '\n')"

audit: setup
	$(BIN)/python -m pip install -q --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r lock-py311-linux.txt

lock: setup
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip compile -q setup.py --extra dev --extra hub -c constraints.txt --python-version 3.11.7 \
	--python-platform x86_64-manylinux_2_28 --generate-hashes --no-annotate --custom-compile-command 'make lock' -o lock-py311-linux.txt
