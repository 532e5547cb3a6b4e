"What a GPU machine computes, in order of value, and what a copy to it carries"
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stage:
    "A notebook of nbs/ with its parameters, or a script of the bundle"
    runs: str  # '10_mnist', or a file such as 'smoke.py'
    seconds: int  # expected on an H200 with up to three lanes in use
    parameters: dict = field(default_factory=dict)  # of the notebook, besides its scale
    data: tuple = ()  # sets that the store must hold
    lanes: int = 1  # of three: 1 leaves half of the GPU idle, 2 fills it, 3 runs alone


K = 1000
rooms = dict(images=60*K, epochs=30)  # one training for four notebooks

stages = dict(
    smoke=Stage('smoke.py', 55, lanes=3),
    table3=Stage('10_mnist', 500, dict(samples=[50*K, 100*K, K*K, 10*K*K]), ('mnist',)),
    table2=Stage('05_svhn', 420, dict(trials=16), ('svhn',)),
    table1=Stage('04_cifar10', 300, {}, ('cifar10', 'tiny_imagenet'), lanes=2),
    rooms=Stage('03_lsun', 430, rooms | dict(dataset='rooms', long=40), lanes=2),
    bedrooms=Stage('03_lsun', 140, dict(dataset='places_bedroom', epochs=200, long=40),
                   ('places_bedroom',), lanes=2),
    faces=Stage('09_faces', 420, dict(dataset='lfw', images=100*K, epochs=20),
                ('lfw',), lanes=2),
    walks=Stage('06_walks', 240, rooms | dict(dataset='rooms'), lanes=2),
    guided=Stage('07_guided', 240, rooms | dict(dataset='rooms'), lanes=2),
    forget=Stage('08_forget', 240, rooms | dict(dataset='rooms'), lanes=2),
    speed=Stage('15_speed', 480, lanes=3),
    turing=Stage('12_turing', 2300, {}, ('cifar10', 'lfw'), lanes=2),
    large=Stage('11_large_images', 1800, {}, ('mnist',)),
    deligan=Stage('13_deligan', 1700, {}, ('mnist', 'cifar10'), lanes=2),
    proof_explorer=Stage('10a_explorer', 25, dict(scale='smoke'), lanes=3),
    proof_turing=Stage('12_turing', 30, dict(scale='smoke'), lanes=3),
    proof_large=Stage('11_large_images', 35, dict(scale='smoke'), lanes=3),
    proof_deligan=Stage('13_deligan', 20, dict(scale='smoke'), lanes=3),
    proof_faces=Stage('09_faces', 35, dict(scale='smoke'), lanes=3),
    proof_forget=Stage('08_forget', 30, dict(scale='smoke'), lanes=3),
    proof_guided=Stage('07_guided', 25, dict(scale='smoke'), lanes=3))

parts = dict(  # what one copy carries: wheels, the authors' networks, data sets
    A=('wheels', 'weights', 'mnist', 'cifar10'),
    B=('svhn', 'tiny_imagenet'),
    C=('places_bedroom',),
    D=('lfw',))


def part_of(name):
    "The parts of the bundle that carry a data set, such as 'A'"
    return ', '.join(p for p, carried in parts.items() if name in carried)


def chosen(names):
    "The stages of a comma-separated list, in order of value; all where it is empty"
    asked = [n.strip() for n in names.split(',') if n.strip()]
    unknown = [n for n in asked if n not in stages]
    if unknown:
        raise ValueError(f"unknown stage {unknown[0]!r}: one of {', '.join(stages)}")
    return {n: s for n, s in stages.items() if not asked or n in asked}
