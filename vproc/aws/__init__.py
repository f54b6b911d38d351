"""The only importer of aiobotocore: adapters from the ports to S3 and SQS. Decides nothing."""
