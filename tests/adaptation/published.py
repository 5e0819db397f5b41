"""The generator of the paper, written from it, with its weights under the published names."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn


class Block(nn.Module):
    def __init__(self, width: int, dropout: bool) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(), *([nn.Dropout(0.5)] if dropout else []), *other)

    def forward(self, x):
        return x + self.conv_block(x)


class Reference(nn.Module):
    """c7s1-w, d2w, d4w, R4w x n, u2w, uw, c7s1-c of the paper's appendix, its layers in one Sequential."""

    def __init__(self, *, width=4, blocks=2, channels=1, dropout=False, seed=0) -> None:
        super().__init__()

        def normed(layer, size):
            return [layer, nn.InstanceNorm2d(size), nn.ReLU()]

        layers = [nn.ReflectionPad2d(3), *normed(nn.Conv2d(channels, width, 7), width)]
        for size in (width, 2 * width):
            layers += normed(nn.Conv2d(size, 2 * size, 3, stride=2, padding=1), 2 * size)
        layers += [Block(4 * width, dropout) for _ in range(blocks)]
        for size in (4 * width, 2 * width):
            up = nn.ConvTranspose2d(size, size // 2, 3, stride=2, padding=1, output_padding=1)
            layers += normed(up, size // 2)
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.15, generator=generator)

    def forward(self, image):
        return self.model(image)


def save(reference: nn.Module, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(reference.state_dict(), path)
    else:
        torch.save(reference.state_dict(), path)
    return path
