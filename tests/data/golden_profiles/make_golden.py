"""Numbers of two prompt families on Qwen2-VL, by plain transformers: golden.safetensors and golden.json.

Prompt, pixel budgets, positions and the pooled token of Ops-MM-embedding-v1 and RzenEmbed are written out
here, as read in their code (`vlm2vec/profiles/`); network, tokenizer and image processor are the stock ones,
in float32.

Run in this folder, with transformers 4.57.3, qwen-vl-utils, torchvision and Pillow 13:

    python make_golden.py ../golden/tiny_qwen2vl ../golden/inputs golden
"""

import hashlib
import json
import sys
from pathlib import Path

HERE, TOKEN = Path(__file__).parent, 28 * 28
ASK = "<|im_start|>assistant\n<|endoftext|>"
# Of the first pass (Pillow) and of the processor's, in tokens.
BUDGETS = {
    "ops": ((256, 1280), (256, 1280)),
    "rzen": ((4, 16384), (256, 1280)),
    "rzen_frames": ((4, 16384), (160, 180)),
}


def prompt_of(case, count):
    images = "<|vision_start|><|image_pad|><|vision_end|>" * count
    system, instruction = "You are a helpful assistant.", case.get("instruction", "")
    if case["family"] == "ops":
        system, instruction = instruction or system, ""
    user = images + instruction + case.get("text", "")
    return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n{ASK}"


def main(tiny, inputs, out):
    # In here, because pytest imports this file when it looks for doctests.
    import numpy as np
    import PIL
    import torch
    import transformers
    from PIL import Image
    from qwen_vl_utils.vision_process import smart_resize
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, Qwen2VLImageProcessor, Qwen2VLModel

    torch.set_grad_enabled(False)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = Qwen2VLModel.from_pretrained(tiny, dtype=torch.float32).eval()
    processor, tensors, report, taken = Qwen2VLImageProcessor.from_pretrained(tiny), {}, {}, {}
    model.language_model.register_forward_pre_hook(lambda *given: taken.update(given[2]), with_kwargs=True)
    for case in json.loads((HERE / "cases.json").read_text(encoding="utf-8")):
        name, family, batch = case["id"], case["family"], {}
        paths = [inputs / image for image in case.get("images", [])]
        paths += [inputs / case["frames"] / f"frame_{i + 1}.png" for i in range(case.get("count", 0))]
        first, second = BUDGETS["rzen_frames" if family == "rzen" and "frames" in case else family]
        images = []
        for path in paths:
            image = Image.open(path).convert("RGB")
            height, width = smart_resize(image.height, image.width, 28, first[0] * TOKEN, first[1] * TOKEN)
            images.append(image.resize((width, height)))
        full = prompt = prompt_of(case, len(images))
        entry = report[name] = {"prompt": prompt}
        if images:
            sizes = {"min_pixels": second[0] * TOKEN, "max_pixels": second[1] * TOKEN}
            batch = dict(processor(images=images, return_tensors="pt", **sizes))
            grids = batch["image_grid_thw"]
            begin, *pieces = prompt.split("<|image_pad|>")
            tokens = ["<|image_pad|>" * int(grid.prod() // 4) for grid in grids]
            full = begin + "".join(one + piece for one, piece in zip(tokens, pieces, strict=True))
            mean, std = (
                torch.tensor(some, dtype=torch.float64)[:, None]
                for some in (processor.image_mean, processor.image_std)
            )
            values = batch["pixel_values"].double().view(len(batch["pixel_values"]), 3, -1)
            levels = ((values * std + mean) * 255).round().to(torch.uint8).flatten(1).numpy()
            entry["image_grid_thw"] = grids.tolist()
            entry["pixel_values_sha256_of_uint8"] = hashlib.sha256(levels.tobytes()).hexdigest()
        ids = tokenizer([full], return_tensors="pt", add_special_tokens=False)["input_ids"]
        if family == "rzen":
            batch["position_ids"] = torch.arange(ids.shape[1]).expand(3, 1, -1)
        model.rope_deltas = None
        state = model(input_ids=ids, attention_mask=torch.ones_like(ids), **batch).last_hidden_state[0, -1]
        tensors |= {
            f"input_ids/{name}": ids[0].int(),
            f"position_ids/{name}": taken["position_ids"][-3:, 0].int(),
            f"emb/{name}": torch.nn.functional.normalize(state, dim=-1),
            f"pooled/{name}": state,
        }
        entry["tokens"] = ids.shape[1]
    report["versions"] = {module.__name__: module.__version__ for module in (torch, transformers, PIL, np)}
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in tensors.items()},
        out.with_suffix(".safetensors"),
    )
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    out.with_suffix(".json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
