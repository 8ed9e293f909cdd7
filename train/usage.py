"""What the commands that train and evaluate say about themselves."""

from __future__ import annotations

DESCRIPTIONS = {
    "fit": "Train a model from a YAML file. Run the same command again to resume a run that was interrupted.",
    "validate": "Perplexity of a trained run on the validation split.",
    "test": "Perplexity of a trained run on the test split.",
}

USAGE = {
    "fit": """lmzoo fit --config FILE [--run_dir FOLDER] [--KEY VALUE ...]

examples:
  lmzoo fit --config configs/python-docs/tiny.yaml
  lmzoo fit --config configs/python-docs/tiny.yaml --model.position ALiBi --trainer.max_steps 50
  lmzoo fit --config configs/wikitext-2/1m.yaml --run_dir runs/mine     (again: resumes)
  lmzoo fit --config configs/wikitext-2/1m.yaml --print_config          (every key with its value)
  lmzoo fit --config configs/wikitext-2/power-law-decay.yaml --init_from runs/1m/seed-0     (fine-tuning)
  lmzoo fit --model.attention.help SoftmaxAttention                     (the arguments of a part)""",
    "validate": "lmzoo validate --run_dir FOLDER [--debias] [--KEY VALUE ...]",
    "test": "lmzoo test --run_dir FOLDER [--debias] [--KEY VALUE ...]",
}
