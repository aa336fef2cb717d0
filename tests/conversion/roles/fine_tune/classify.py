import torch
from datasets import load_dataset
from torch.optim import AdamW
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    get_linear_schedule_with_warmup,
)

config = {"name": "distilbert-base-uncased", "lr": 2e-5, "batch": 16, "epochs": 3}

tokenizer = AutoTokenizer.from_pretrained(config["name"])
raw = load_dataset("glue", "sst2")


def tokenize(row):
    return tokenizer(row["sentence"], truncation=True)


ready = raw.map(tokenize, batched=True)
collator = DataCollatorWithPadding(tokenizer)
train_loader = DataLoader(ready["train"], shuffle=True, batch_size=config["batch"], collate_fn=collator)
eval_loader = DataLoader(ready["validation"], batch_size=config["batch"], collate_fn=collator)

model = AutoModelForSequenceClassification.from_pretrained(config["name"], num_labels=2)
optimizer = AdamW(model.parameters(), lr=config["lr"])
num_steps = config["epochs"] * len(train_loader)
schedule = get_linear_schedule_with_warmup(optimizer, 0, num_steps)
device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
model.to(device)


def evaluate():
    model.eval()
    right = total = 0
    for batch in eval_loader:
        with torch.no_grad():
            out = model(**{k: v.to(device) for k, v in batch.items()})
        right += (out.logits.argmax(-1) == batch["labels"].to(device)).sum().item()
        total += len(batch["labels"])
    return right / total


for epoch in range(config["epochs"]):
    model.train()
    for batch in train_loader:
        out = model(**{k: v.to(device) for k, v in batch.items()})
        loss = out.loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    print(epoch, evaluate())
