"""The pages: each draws what `views` reads. A folder named `pages` beside `app.py` would be Streamlit's own."""
