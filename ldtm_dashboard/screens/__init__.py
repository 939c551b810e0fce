"""The pages: each draws what `views` reads. Streamlit treats a folder named `pages` next to `app.py` as its own."""
