"""What a command line may have meant that click refuses."""
