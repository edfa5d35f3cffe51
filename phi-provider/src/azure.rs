//! Azure OpenAI: where its deployments are, and which header takes its key.
