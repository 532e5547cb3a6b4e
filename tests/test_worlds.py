"The worlds draw what they always drew: caches are kept under the fingerprints of their images"
import pytest
import torch

import dcgan.data.store  # noqa: F401 (registers every world)
from dcgan.worlds import world
from dcgan.worlds.world import draw, worlds

# the sum of all bytes of 50 images of seed 0, each with a random sign: other drawings differ by
# tens of thousands, the rounding of another processor by a few
signed_sums = dict(digits=10820, street_digits=26881, faces=97126, objects=-34927, rooms=-22606)

def signed_sum(images):
    g = torch.Generator().manual_seed(0)
    return int((images.long() * (2 * torch.randint(2, images.shape, generator=g) - 1)).sum())

def test_every_world_has_its_sum(): assert set(signed_sums) <= set(worlds)

@pytest.mark.parametrize('name', signed_sums)
def test_a_world_draws_the_images_that_it_always_drew(name):
    assert abs(signed_sum(draw(name, 50, seed=0)[0]) - signed_sums[name]) < 200


@pytest.mark.parametrize('name', worlds)
def test_blocks_rendered_together_as_on_a_gpu_are_those_rendered_one_by_one(name):
    sampled = [world._sample(name, 7, block) for block in range(2)]
    together, factors = world._render(name, sampled, 16, torch.device('cpu'))
    images, single = draw(name, 256, seed=7, size=16)
    off = (together.int() - images.int()).abs()
    assert off.max() <= 1 and (off > 0).float().mean() < 1e-3
    assert all(torch.equal(v, single[k]) for k, v in factors.items())


@pytest.mark.parametrize('size', [16, 64])
def test_rows_on_another_device_are_cut_and_placed_as_on_the_cpu(monkeypatch, size):
    "With a device that only says that it is not the CPU"
    rendered, sizes = world._render, []

    def render(name, sampled, size, device):
        sizes.append(len(sampled))
        return rendered(name, sampled, size, torch.device('cpu'))
    expected = draw('digits', 2500, seed=2, start=100, size=size)
    monkeypatch.setattr(world, '_render', render)
    found = draw('digits', 2500, seed=2, start=100, size=size, device='meta')
    assert sizes == {16: [21], 64: [16, 5]}[size]
    assert (found[0].int() - expected[0].int()).abs().max() <= 1
    assert all(torch.equal(v, expected[1][k]) for k, v in found[1].items())
