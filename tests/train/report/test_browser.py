"""The page as a browser shows it: on a phone and on a desk, light and dark."""

import shutil

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="wants the package playwright")
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="wants Chromium: apt-get install chromium"),
]

PHONE, DESK = (420, 860), (1280, 900)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(params=[(size, scheme) for size in (PHONE, DESK) for scheme in ("light", "dark")], ids=str)
def page(request, browser, claimed):
    """The report in the browser, without a network; afterwards nothing was complained of and nothing was fetched."""
    (width, height), scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, offline=True)
    page = context.new_page()
    said, fetched = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda one: fetched.append(one.url))
    page.goto(claimed[1].as_uri())
    yield page
    context.close()
    assert said == []
    assert {url.split(":")[0] for url in fetched} <= {"file", "data"}
    assert [url for url in fetched if url.startswith("file")] == [claimed[1].as_uri()]


def too_wide(page):
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def test_the_page_in_a_browser(page, claimed):
    document, _ = claimed
    width = page.viewport_size["width"]
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    narrow = width == PHONE[0]

    pictures = page.evaluate(
        "[...document.querySelectorAll('figure img')].map(i => [i.complete, i.naturalWidth, i.width, i.height])"
    )
    assert len(pictures) == len(document.plots)
    for complete, natural, shown, height in pictures:
        assert complete
        assert natural == (740 if narrow else 1120)
        assert 200 < shown <= width
        assert height > 50
    # the picture is of the page's colours: its corner is the page's card
    corner = page.evaluate("""() => {
        const canvas = document.createElement('canvas').getContext('2d')
        canvas.drawImage(document.querySelector('figure img'), 0, 0)
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
    }""")
    card = page.evaluate("getComputedStyle(document.querySelector('section.troubles + section')).backgroundColor")
    assert card == f"rgb({', '.join(map(str, corner))})"
    assert (sum(corner) < 150) == dark

    icons = page.evaluate(
        "[...document.querySelectorAll('.claims svg.icon, td svg.icon')].filter(i => i.checkVisibility())"
        ".map(i => i.getBoundingClientRect().width)"
    )
    assert len(icons) >= 6
    assert min(icons) > 8

    assert too_wide(page) <= 0
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')].every(s => s.getBoundingClientRect().right <= innerWidth)"
    )

    links = page.locator("nav a")
    assert links.count() == len(document.contents)
    for i in range(links.count()):
        links.nth(i).click()
        target = page.locator(page.evaluate("location.hash"))
        assert target.count() == 1
        assert target.locator("h2").inner_text() == links.nth(i).inner_text()

    summaries = page.locator("summary")
    for i in range(summaries.count()):  # from the outside inwards, as they stand
        summaries.nth(i).click()
        assert summaries.nth(i).evaluate("s => s.parentElement.open && s.nextElementSibling.offsetHeight > 0")
    assert too_wide(page) <= 0


def test_one_click_selects_a_command(page):
    command = page.locator(".repeat code").first
    command.click()
    assert page.evaluate("getSelection().toString()") == command.inner_text()
