"""What a Hugging Face Hub repository of a REET model consists of: the code that travels and the model card."""
