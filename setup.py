"The package, described by settings.ini."

import shutil
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

parser = ConfigParser(delimiters=['='])
parser.read('settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']
extras = {k: cfg[f'{k}_requirements'].split() for k in ('paper', 'hub', 'workflow', 'dev')}
extras['dev'] += extras['paper']


class WithWeights(build_py):
    "A wheel carries the pretrained networks; an editable installation reads them in figures/"

    def run(self):
        super().run()
        if not self.editable_mode:
            to = Path(self.build_lib) / 'dcgan/weights'
            shutil.copytree('figures/weights', to, dirs_exist_ok=True)


setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    author=cfg['author'],
    keywords=cfg['keywords'],
    license='Apache-2.0',
    long_description=Path('README.md').read_text(encoding='utf-8')
    if Path('README.md').exists()
    else '',
    long_description_content_type='text/markdown',
    packages=find_packages(include=['dcgan', 'dcgan.*']),
    cmdclass=dict(build_py=WithWeights),
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg['requirements'].split(),
    extras_require=extras,
    entry_points=dict(console_scripts=[s.strip() for s in cfg['console_scripts'].splitlines()]),
)
