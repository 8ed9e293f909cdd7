"""One thread for each test process: the models here are small, and threads that wait for each other are slow."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may lean on the network

import torch

torch.set_num_threads(1)
