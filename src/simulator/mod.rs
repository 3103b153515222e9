//! A vLLM look-alike with continuous batching, for machines without a GPU.
