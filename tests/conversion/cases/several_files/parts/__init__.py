from .model import Line
