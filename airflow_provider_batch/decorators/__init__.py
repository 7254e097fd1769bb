"""The operator as a TaskFlow decorator."""
