"The worlds draw what they always drew: caches are kept under the fingerprints of their images"
import pytest
import torch

import dcgan.data.store  # noqa: F401 (registers every world)
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
