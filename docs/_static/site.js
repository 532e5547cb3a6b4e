// What scrolls sideways can be reached by keyboard
const wide = 'article :is(pre, table, .highlight, mjx-container)'
function reach() {
  for (const e of document.querySelectorAll(wide)) {
    const scrolls = e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX === 'auto'
    if (scrolls) e.tabIndex = 0
    else e.removeAttribute('tabindex')
  }
}
addEventListener('load', reach)
addEventListener('resize', reach)
addEventListener('toggle', reach, true) // folded code that opens
