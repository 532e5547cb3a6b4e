__version__ = "0.1.0"

def __getattr__(name): # so that `import dcgan` stays light
    if name in ('load_pretrained', 'pretrained_names'):
        from .tools import pretrained
        return getattr(pretrained, name)
    raise AttributeError(f'module dcgan has no attribute {name!r}')
