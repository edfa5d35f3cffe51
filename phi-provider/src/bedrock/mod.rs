//! The wire of the ConverseStream protocol of AWS Bedrock.
