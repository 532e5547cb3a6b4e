__version__ = "1.0.0"

from importlib import import_module

_lazy = dict( # name → its module, imported when the name is asked for: `import dcgan` stays light
    load_pretrained='tools.pretrained', pretrained_names='tools.pretrained',
    load_networks='tools.pretrained', generate='tools.use', film='tools.use', score='tools.use',
    invert='paper.invert', push='tools.hub', pull='tools.hub')

def __getattr__(name):
    if name in _lazy:
        return getattr(import_module(f'{__name__}.{_lazy[name]}'), name)
    raise AttributeError(f'module dcgan has no attribute {name!r}')

def __dir__():
    return sorted({*globals(), *_lazy})
