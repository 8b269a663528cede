"""What a rollout leaves behind: may it go, and is it idle?"""
