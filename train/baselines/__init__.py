"""What adapters are compared with: a frozen encoder's features, and models without BERT."""
