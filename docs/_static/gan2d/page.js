// The page of the GAN in the plane: controls, pictures, numbers. It trains in worker.js.
import { defaults } from './gan.js'

const root = document.getElementById('gan2d')
const $ = selector => root.querySelector(selector), all = selector => [...root.querySelectorAll(selector)]
const still = matchMedia('(prefers-reduced-motion: reduce)')

const calm = { data: 'two', r1: 0.05, beta1: 0, rateD: 0.01, rateG: 0.004 }
const deep = { data: 'two', layers: 5, start: 'small', rateD: 0.003, rateG: 0.001 }
const wild = { data: 'one', rateD: 0.005, rateG: 0.001 }
export const presets = {
  learns: { ...calm, layers: 2 },
  ring: { ...calm, data: 'ring', layers: 2 },
  collapse: deep,
  collapse_mended: { ...deep, norm: true },
  oscillation: { ...wild, beta1: 0.9 },
  oscillation_mended: { ...wild, beta1: 0.5 },
  bridge: calm,
  bridge_mended: { ...calm, mixture: 50 },
}

const types = { data: String, start: String, norm: v => String(v) === 'true' }
const typed = (key, value) => (types[key] ?? Number)(value)
const anew = ['data', 'mixture', 'layers', 'norm', 'start', 'batch', 'seed'] // begin at step 0

let options = { ...defaults, ...presets.learns }, points = [], running = false, last = null, history = []
let worker

// Options: from the address, from the controls, to both

function fromAddress() {
  const given = [...new URLSearchParams(location.hash.slice(1))].filter(([k]) => k in defaults)
  return Object.fromEntries(given.map(([k, v]) => [k, typed(k, v)]))
}

function toAddress() {
  const other = Object.entries(options).filter(([k, v]) => v !== defaults[k])
  window.history.replaceState(null, '', `#${new URLSearchParams(other)}`)
}

const isRate = key => key.startsWith('rate')
const toSlider = (key, value) => isRate(key) ? Math.log10(value) : value
const ofSlider = (key, text) => isRate(key) ? Number((10 ** Number(text)).toPrecision(2)) : typed(key, text)

function showOptions() {
  for (const input of all('[data-option]')) {
    const key = input.dataset.option, value = options[key]
    if (input.type === 'checkbox') input.checked = value
    else input.value = toSlider(key, value)
    const said = input.parentElement.querySelector('output')
    if (said) said.textContent = value
    if (input.type === 'range') input.setAttribute('aria-valuetext', value)
  }
  const own = options.data === 'drawing'
  $('.drawing').hidden = !own
  $('.plane').tabIndex = own ? 0 : -1
  $('.plane').classList.toggle('pen', own)
  for (const button of all('[data-preset]')) {
    const wanted = { ...defaults, ...presets[button.dataset.preset] }
    const same = Object.keys(wanted).every(k => k === 'seed' || wanted[k] === options[k])
    button.setAttribute('aria-pressed', same)
  }
}

function change(some) {
  options = { ...options, ...some }
  showOptions()
  toAddress()
  if (Object.keys(some).some(k => anew.includes(k))) restart()
  else worker.postMessage({ kind: 'set', options: some })
}

function restart() {
  history = []
  worker.postMessage({ kind: 'start', options, points })
}

function choose(name) {
  options = { ...defaults, ...presets[name], seed: options.seed }
  showOptions()
  toAddress()
  restart()
  run()
}

// Running

function run() {
  running = true
  const picture = still.matches ? 1000 : 50
  worker.postMessage({ kind: 'run', every: Number($('.pace').value), picture })
  showRunning()
}

function pause() {
  running = false
  worker.postMessage({ kind: 'pause' })
  showRunning()
  if (last) say(`Paused. ${inWords(last)}`)
}

function step(D, G) {
  running = false
  showRunning()
  worker.postMessage({ kind: 'step', D, G })
}

function showRunning() {
  $('.run').textContent = running ? 'Pause' : 'Run'
  root.dataset.state = running ? 'running' : 'paused'
}

const say = text => { $('.status').textContent = text }
const fixed = (value, digits) => Number.isFinite(value) ? value.toFixed(digits) : '–'
const inWords = s => `Step ${s.rounds}: energy distance ${fixed(1000 * s.energy, 1)} thousandths, `
  + `where two samples of the data are ${fixed(1000 * s.floor, 1)} apart; `
  + `spread of the samples ${fixed(s.spread, 2)}, of the data ${fixed(s.spreadHeld, 2)}.`

function received(seen) {
  last = seen
  const then = history.at(-1)
  if (!then || seen.rounds > then.rounds) {
    const { rounds, losses, energy } = seen
    history.push({ rounds, D: losses.D, G: losses.G, energy })
    if (history.length > 600) history = history.filter((_, i) => i % 2 === 1)
  }
  if (!running) $('.plane').setAttribute('aria-label', inWords(seen))
  for (const [name, text] of Object.entries({
    rounds: seen.rounds.toLocaleString('en'),
    rate: seen.rate ? `${Math.round(seen.rate)} a second` : '',
    D: fixed(seen.losses.D, 3), G: fixed(seen.losses.G, 3),
    energy: fixed(1000 * seen.energy, 1), floor: fixed(1000 * seen.floor, 1),
    spread: fixed(seen.spread, 2), spreadHeld: fixed(seen.spreadHeld, 2),
  })) $(`[data-number=${name}]`).textContent = text
  Object.assign(root.dataset, { rounds: seen.rounds, energy: 1000 * seen.energy,
    spread: seen.spread, rate: seen.rate ?? '' })
  paint()
}

// Pictures

function surface(canvas) { // its context, in CSS pixels, and its size
  const { clientWidth: w, clientHeight: h } = canvas, ratio = devicePixelRatio || 1
  if (canvas.width !== Math.round(w * ratio)) canvas.width = Math.round(w * ratio)
  if (canvas.height !== Math.round(h * ratio)) canvas.height = Math.round(h * ratio)
  const c = canvas.getContext('2d')
  c.setTransform(ratio, 0, 0, ratio, 0, 0)
  c.clearRect(0, 0, w, h)
  return [c, w, h]
}

const colour = name => getComputedStyle(root).getPropertyValue(`--${name}`).trim()
const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16))
const small = document.createElement('canvas') // D's surface, one pixel for each place

function paintField(c, w, h, { field, side }) {
  const [low, middle, high] = ['field-fake', 'field-none', 'field-real'].map(n => rgb(colour(n)))
  const image = new ImageData(side, side)
  field.forEach((p, i) => {
    const to = p < 0.5 ? low : high, share = Math.abs(2 * p - 1)
    image.data.set([...middle.map((v, k) => v + share * (to[k] - v)), 255], 4 * i)
  })
  small.width = small.height = side
  small.getContext('2d').putImageData(image, 0, 0)
  c.imageSmoothingEnabled = true
  c.drawImage(small, 0, 0, w, h)
}

function paint() {
  if (!last) return
  const [c, w, h] = surface($('.plane')), { limit, samples, held, push, net } = last
  const x = v => w * (v / limit + 1) / 2, y = v => h * (1 - v / limit) / 2
  if ($('[name=surface]').checked) paintField(c, w, h, last)
  if ($('[name=net]').checked) paintNet(c, net, x, y)
  c.lineWidth = 1.4
  c.strokeStyle = colour('real')
  for (let i = 0; i < held.length; i += 2) { // rings: data
    c.beginPath()
    c.arc(x(held[i]), y(held[i + 1]), 2.6, 0, 7)
    c.stroke()
  }
  c.fillStyle = colour('fake')
  for (let i = 0; i < samples.length; i += 2) { // dots: samples
    c.beginPath()
    c.arc(x(samples[i]), y(samples[i + 1]), 2.6, 0, 7)
    c.fill()
  }
  if ($('[name=push]').checked) paintPush(c, samples, push, x, y)
  if (options.data === 'drawing' && document.activeElement === $('.plane')) paintPen(c, x, y)
  paintChart($('.losses'), [['D', 'real'], ['G', 'fake']])
  paintChart($('.energy'), [['energy', 'text']], last.floor)
}

function paintNet(c, net, x, y, dots = 25) {
  c.strokeStyle = colour('net')
  c.lineWidth = 0.8
  for (let i = 0; i < net.length; i += 2) {
    if (i / 2 % dots === 0) c.beginPath()
    c.lineTo(x(net[i]), y(net[i + 1]))
    if (i / 2 % dots === dots - 1) c.stroke()
  }
}

function paintPush(c, samples, push, x, y) { // of every fourth sample
  c.strokeStyle = colour('text')
  c.lineWidth = 1
  for (let i = 0; i < samples.length; i += 8) {
    const length = Math.hypot(push[i], push[i + 1]), to = 0.16 * Math.min(1, length) / (length || 1)
    c.beginPath()
    c.moveTo(x(samples[i]), y(samples[i + 1]))
    c.lineTo(x(samples[i] + to * push[i]), y(samples[i + 1] + to * push[i + 1]))
    c.stroke()
  }
}

function paintChart(canvas, series, floor = null) {
  const [c, w, h] = surface(canvas), values = history.flatMap(s => series.map(([k]) => s[k]))
  const finite = values.filter(Number.isFinite)
  if (!finite.length) return
  const log = floor !== null, scale = log ? v => Math.log10(Math.max(v, 1e-4)) : v => v
  const low = log ? scale(floor / 2) : 0, high = Math.max(...finite.map(scale), log ? low + 1 : 2)
  const end = Math.max(1, history.at(-1).rounds), left = 34
  const x = v => left + (w - left - 6) * v / end, y = v => h - 8 - (h - 16) * (scale(v) - low) / (high - low)
  const marks = log ? [0.001, 0.01, 0.1, 1] : [0, 1, 2, 4, 8, 16].filter(v => high <= 8 || v % 4 === 0)
  c.font = `11px ${getComputedStyle(root).fontFamily}`
  c.textBaseline = 'middle'
  for (const v of marks.filter(v => scale(v) >= low && scale(v) <= high)) {
    c.fillStyle = colour('muted')
    c.fillText(log ? 1000 * v : v, 4, y(v))
    c.fillStyle = colour('line')
    c.fillRect(left, y(v), w - left - 6, 0.7)
  }
  if (log) {
    c.fillStyle = colour('real')
    for (let at = left; at < w - 6; at += 8) c.fillRect(at, y(floor), 4, 1)
  }
  for (const [key, name] of series) {
    c.strokeStyle = colour(name)
    c.lineWidth = 1.5
    c.beginPath()
    for (const s of history) if (Number.isFinite(s[key])) c.lineTo(x(s.rounds), y(s[key]))
    c.stroke()
  }
}

// One's own data: by pointer, or with arrow keys and the space bar

const pen = { x: 0, y: 0 }

function paintPen(c, x, y) {
  c.strokeStyle = colour('text')
  c.lineWidth = 2
  c.strokeRect(x(pen.x) - 7, y(pen.y) - 7, 14, 14)
}

function dab() {
  points.push([pen.x, pen.y])
  worker.postMessage({ kind: 'draw', points })
}

function pointed(event) {
  const box = $('.plane').getBoundingClientRect(), { limit } = last
  pen.x = limit * (2 * (event.clientX - box.left) / box.width - 1)
  pen.y = limit * (1 - 2 * (event.clientY - box.top) / box.height)
  dab()
}

function keyed(event) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }
  const [dx, dy] = moves[event.key] ?? [0, 0], far = event.shiftKey ? 0.15 : 0.05
  if (options.data !== 'drawing' || !(moves[event.key] || event.key === ' ')) return
  event.preventDefault()
  pen.x = Math.max(-1, Math.min(1, pen.x + far * dx))
  pen.y = Math.max(-1, Math.min(1, pen.y + far * dy))
  if (event.key === ' ') dab()
  else paint()
}

function listen() {
  for (const button of all('[data-preset]')) button.onclick = () => choose(button.dataset.preset)
  for (const input of all('[data-option]')) {
    const key = input.dataset.option, slides = input.type === 'range' && !anew.includes(key)
    input[slides ? 'oninput' : 'onchange'] = () => {
      change({ [key]: input.type === 'checkbox' ? input.checked : ofSlider(key, input.value) })
    }
  }
  $('.run').onclick = () => running ? pause() : run()
  $('.step').onclick = () => step()
  $('.only-D').onclick = () => step(1, 0)
  $('.only-G').onclick = () => step(0, 1)
  $('.again').onclick = () => { pauseQuietly(); restart() }
  $('.seed').onclick = () => change({ seed: options.seed + 1 })
  $('.pace').onchange = () => running && run()
  $('.clear').onclick = () => { points = []; worker.postMessage({ kind: 'draw', points }) }
  for (const box of all('.layers input')) box.onchange = paint
  const plane = $('.plane'), draws = () => options.data === 'drawing'
  plane.onpointerdown = event => {
    if (!draws()) return
    plane.setPointerCapture(event.pointerId)
    pointed(event)
  }
  plane.onpointermove = event => plane.hasPointerCapture(event.pointerId) && pointed(event)
  plane.onkeydown = keyed
  plane.onfocus = plane.onblur = paint
  new ResizeObserver(paint).observe(plane)
  new MutationObserver(paint).observe(document.documentElement, { attributeFilter: ['data-theme'] })
  document.addEventListener('visibilitychange', () => document.hidden && running && pause())
  window.addEventListener('hashchange', () => change(fromAddress()))
}

function pauseQuietly() {
  running = false
  worker.postMessage({ kind: 'pause' })
  showRunning()
}

function start() {
  worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' })
  worker.onmessage = ({ data }) => received(data)
  worker.onerror = event => {
    root.dataset.state = 'failed'
    say(`This did not work: ${event.message || 'the worker did not start'}. The page needs a web `
      + 'server; for these docs that is: python -m http.server -d _docs')
  }
  const given = fromAddress()
  if (Object.keys(given).length) options = { ...defaults, ...given }
  $('.panel').hidden = false
  listen()
  showOptions()
  showRunning()
  say('Press Run, or choose an experiment.')
  restart()
}

if (root) start()
