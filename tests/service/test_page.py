"""The page and the API reference in a real browser."""

import tempfile

import pytest
from browser import Browser, find_chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        find_chromium() is None, reason="no Chromium here: THE PAGE IS NOT TESTED; install chromium"
    ),
]


@pytest.fixture
def browser():
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder)
        yield browser
        browser.close()


def open_form(browser, service):
    """The page with the toy chosen; other models may stand before it in the list."""
    browser.open(f"{service.url}/")
    browser.until("document.querySelector('#model-select option[value=toy-molecules]') !== null")
    browser.run(
        "const select = document.querySelector('#model-select');"
        "select.value = 'toy-molecules'; select.dispatchEvent(new Event('change'))"
    )
    browser.until("document.querySelector('[data-path=step_seconds]') !== null")


def fill(browser, **values):
    for path, value in values.items():
        browser.run(f"document.querySelector('[data-path={path}]').value = {str(value)!r}")
    browser.run("document.querySelector('#submit').click()")


def test_molecules_are_sampled_listed_and_shown_in_space(service, browser):
    open_form(browser, service)
    fill(browser, n_molecules=20, seed=5, step_seconds=0.02, keep_trajectory=5)
    browser.until("document.querySelector('#job-state').textContent === 'succeeded'")
    browser.until("document.querySelectorAll('#molecules .tile').length === 20")
    assert browser.run("document.querySelectorAll('#molecules .badge.bad').length") == 2
    browser.until("[...document.querySelectorAll('img.drawing')].some((image) => image.naturalWidth > 0)")
    # The 3D view is not blank: some pixels of its canvas differ.
    browser.until("document.querySelector('#viewer canvas') !== null")
    colors = browser.until(
        """(() => {
          const canvas = document.querySelector('#viewer canvas');
          const copy = document.createElement('canvas');
          [copy.width, copy.height] = [canvas.width, canvas.height];
          const context = copy.getContext('2d');
          $3Dmol; context.drawImage(canvas, 0, 0);
          const pixels = context.getImageData(0, 0, copy.width, copy.height).data;
          const colors = new Set();
          for (let i = 0; i < pixels.length; i += 400) colors.add(pixels.slice(i, i + 3).join());
          return colors.size > 5 && colors.size;
        })()"""
    )
    assert colors > 5
    assert browser.run("document.querySelector('#frames').hidden") is False
    assert "molecules.sdf" in browser.run("document.querySelector('#downloads').textContent")
    assert browser.console == []
    assert browser.failures == [], "the page loads nothing from other sites"


def test_a_faulty_field_is_marked_and_explained(service, browser):
    open_form(browser, service)
    fill(browser, n_molecules=10**9)
    browser.until("!document.querySelector('#form-error').hidden")
    assert "/n_molecules" in browser.run("document.querySelector('#form-error').textContent")
    assert browser.run("document.querySelector('[data-path=n_molecules]').classList.contains('wrong')")


def test_a_job_can_be_opened_again_by_its_address_and_scored(service, browser, finished):
    browser.open(f"{service.url}/#{finished['id']}")
    browser.until("document.querySelectorAll('#molecules .tile').length === 20")
    browser.run("document.querySelector('#score').click()")
    browser.until("document.querySelector('#job-title').textContent === 'Scores'")
    browser.until("document.querySelector('#job-state').textContent === 'succeeded'")
    browser.until("document.querySelector('#molecules').textContent.includes('log p')")
    assert browser.console == []


def test_without_webgl_the_page_says_so_and_shows_drawings(service, finished):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder, "--disable-gpu", "--disable-3d-apis")
        try:
            browser.open(f"{service.url}/#{finished['id']}")
            browser.until("document.querySelector('#viewer').textContent.includes('no WebGL')")
            browser.until("document.querySelectorAll('img.drawing').length > 0")
        finally:
            browser.close()


def test_the_api_reference_lists_every_model_and_loads_nothing_from_elsewhere(service, browser):
    browser.open(f"{service.url}/docs")
    browser.until("document.body.textContent.includes('/v1/models/toy-molecules/sample')")
    assert browser.console == []
    assert browser.failures == []
