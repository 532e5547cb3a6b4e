// Formulas as HTML: stdin has [[TeX, displayed?], …], stdout { html: […], css } (MathJax in Node.js)
const fonts = 'vendor/mathjax/output/chtml/fonts/woff-v2' // from the style sheet's folder
require('mathjax').init({
  loader: { load: ['input/tex', 'output/chtml', 'a11y/assistive-mml'] },
  chtml: { fontURL: fonts },
}).then(MathJax => {
  const given = JSON.parse(require('fs').readFileSync(0))
  const { adaptor } = MathJax.startup
  const html = given.map(([tex, display]) => adaptor.outerHTML(MathJax.tex2chtml(tex, { display })))
  const css = adaptor.textContent(MathJax.chtmlStylesheet())
  process.stdout.write(JSON.stringify({ html, css }))
}).catch(error => {
  console.error(error)
  process.exit(1)
})
