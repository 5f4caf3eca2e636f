"""Commands of finetune as processes: started, watched, stopped."""
