// The explorer: a reader moves in Z, and sees what a generator draws there.
import { draw, drawn, load, mix, own, plus } from './generators.js'
import { nearest, show as showThumbnail, thumbnails, worlds } from './nearest.js'

const root = document.getElementById('explorer')
const $ = selector => root.querySelector(selector), all = selector => [...root.querySelectorAll(selector)]
const make = (tag, more = {}, ...children) => { const e = Object.assign(document.createElement(tag), more); e.append(...children); return e }
const hidden = (className, textContent) => make('span', { className, textContent, ariaHidden: 'true' }) // from screen readers, which hear the slider itself

const fresh = { base: 'plane', x: 0.5, y: 0.5, seed: 0, walk: 0, equation: null, nth: 4, noise: 0, label: 3, near: false }
const state = { ...fresh, generator: null, corners: [], sum: null, amounts: {}, playing: false, image: null }

function latent() { // where the reader is
  const { generator: { points, directions }, base, x, y, walk, sum, amounts } = state
  const k = Math.floor(walk), bases = {
    plane: () => onPlane(x, y),
    walk: () => mix([points[k % points.length], points[(k + 1) % points.length]], [k + 1 - walk, walk - k]),
    sum: () => sum }
  return plus(bases[base](), ...Object.entries(amounts).map(([name, t]) => [t, directions[name].z]))
}

const onPlane = (x, y) => mix(state.corners, [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y])

function put(canvas, { maps, height, width }, image) {
  const area = height * width, pixels = new ImageData(width, height)
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = Math.round(255 * image[(c % maps) * area + i])
    pixels.data[4 * i + 3] = 255
  }
  canvas.width = width
  canvas.height = height
  canvas.getContext('2d').putImageData(pixels, 0, 0)
}

let painting = false, wanted = false
const times = []
async function paint() { // the newest place, as often as the machine can
  wanted = true
  root.dataset.base = state.base
  all('.nine button').forEach((b, i) => b.setAttribute('aria-pressed', state.base === 'sum' && i === state.nth))
  if (painting) return
  painting = true
  try {
    while (wanted) {
      wanted = false
      const { generator } = state, began = performance.now(), [image] = await draw(generator, [latent()], state.label)
      if (generator === state.generator) {
        state.image = image
        put($('.picture'), generator, image)
        showNearest().catch(fail)
      }
      note(began, performance.now())
      await new Promise(requestAnimationFrame)
    }
  } catch (e) { fail(e) } finally { painting = false }
  toAddress()
}

function note(began, now) { // frames of the last second, where there are some
  times.push(now)
  while (times[0] < now - 1000) times.shift()
  const rate = times.length > 5 ? `; ${Math.round(1000 * (times.length - 1) / (now - times[0]))} pictures a second` : ''
  $('.rate').textContent = `drawn in ${(now - began).toFixed(1)} ms${rate}`
}

const say = text => { $('.status').textContent = text; $('.status').classList.remove('failed') }
function fail(e) {
  console.warn(e)
  say(`This did not work: ${e.message}. The page needs WebAssembly and a web server; for these docs that is: python -m http.server -d _docs`)
  $('.status').classList.add('failed')
  root.dataset.state = 'failed'
}

async function choose(name, link = new URLSearchParams(), file = null) { // a generator of the site, or of the reader
  pause()
  root.dataset.state = 'loading'
  for (const b of all('.tabs button')) b.setAttribute('aria-pressed', b.dataset.name === name)
  say(`Loading ${name} …`)
  state.wish = name
  const tell = share => { if (state.wish === name) say(`Loading ${name}: ${Math.round(100 * share)} %`) }
  try {
    const generator = await (file ? own(file, $('.latent').value) : load(name, tell, onWish))
    if (state.wish !== name) return
    Object.assign(state, { ...fresh, amounts: {}, ...fromLink(link, generator), generator, sum: null, own: Boolean(file) })
    state.corners = corners()
    await show(generator)
    say(`Drawn in this browser by ${generator.device === 'webgpu' ? 'WebGPU' : 'WebAssembly'}.${agrees(generator)}`)
    await Promise.all([paint(), fillPlane()])
    root.dataset.state = 'ready'
    toAddress()
  } catch (e) { if (state.wish === name) fail(e) }
}

const agrees = ({ off }) => off === undefined ? ''
  : ` On loading, its picture of one latent vector was compared with PyTorch's: they differ by at most ${off} of 255 grey levels.`

const corners = () => {
  const { generator: { points, length, latent }, seed } = state
  return seed ? drawn(4, length, seed, latent) : points.slice(0, 4)
}

// The address: what is not as at the beginning

let onWish = new URLSearchParams(location.hash.slice(1)).get('on') // webgpu or wasm, by the reader's choice

function fromLink(link, { points, directions, sums, classes }) { // → a part of the state; what makes no sense is left out
  const number = (key, low, high) => {
    const value = Number(link.get(key) ?? NaN)
    return value >= low && value <= high ? { [key]: value } : {}
  }
  const whole = key => Object.fromEntries(Object.entries(number(key, 0, 1e6)).map(([k, v]) => [k, Math.floor(v)]))
  const amounts = Object.keys(directions).map(k => number(k, -directions[k].limit, directions[k].limit))
  const found = { ...number('x', 0, 1), ...number('y', 0, 1), ...whole('seed'), ...number('walk', 0, points.length),
    ...(classes ? number('label', 0, classes - 1) : {}), ...whole('noise'), ...number('nth', 0, 8), near: link.get('near') === 'true' }
  const equation = Number(link.get('equation') ?? NaN), base = link.get('base')
  if (sums[equation]) found.equation = equation
  if (base === 'walk' || (base === 'sum' && sums[equation])) found.base = base
  return { ...found, amounts: Object.assign({}, ...amounts) }
}

let writing
function toAddress() { // once it has been quiet for a moment; while a generator loads, the address keeps what was asked for
  clearTimeout(writing)
  writing = setTimeout(() => {
    if (!state.playing && root.dataset.state === 'ready') window.history.replaceState(null, '', link())
  }, 150)
}

function link() {
  const { generator, amounts, base } = state, ofSum = ['equation', 'nth', 'noise']
  if (state.own || !generator) return location.pathname
  const kept = Object.entries(fresh).filter(([k, v]) => state[k] !== v && (base === 'sum' || !ofSum.includes(k))).map(([k]) => [k, state[k]])
  const moved = Object.entries(amounts).filter(([, t]) => t)
  const all = [['g', generator.name], ...(onWish ? [['on', onWish]] : []), ...kept, ...moved]
  return `#${new URLSearchParams(all.map(([k, v]) => [k, typeof v === 'number' ? Number(v.toFixed(4)) : v]))}`
}

async function restore(hash) {
  const link = new URLSearchParams(hash.slice(1)), name = link.get('g')
  onWish = link.get('on')
  if (all('.tabs button').some(b => b.dataset.name === name)) await choose(name, link)
}

async function copyLink() {
  window.history.replaceState(null, '', link())
  await navigator.clipboard?.writeText(location.href).catch(() => {})
  say('The address of this page restores what you see; it was copied where the browser allows that.')
}

function savePicture() { // enlarged by whole numbers to about 512 pixels
  const small = $('.picture'), times = Math.max(1, Math.floor(512 / small.width)), large = make('canvas')
  large.width = times * small.width
  large.height = times * small.height
  const c = large.getContext('2d')
  c.imageSmoothingEnabled = false
  c.drawImage(small, 0, 0, large.width, large.height)
  large.toBlob(blob => {
    const href = URL.createObjectURL(blob)
    make('a', { href, download: `${state.generator.name.replace('.onnx', '')}.png` }).click()
    setTimeout(() => URL.revokeObjectURL(href), 1000)
  })
}

// Nearest training images

async function showNearest() {
  const { generator, image, near } = state, world = generator.data?.name
  $('.near').hidden = !near
  if (!near || !image || !worlds.includes(world)) return
  const set = await thumbnails(world)
  if (image !== state.image) return
  const found = nearest(set, image, generator)
  const parts = found.map(({ index, distance }, i) => {
    const canvas = make('canvas', { role: 'img', ariaLabel: `Training image ${index}, number ${i + 1} by distance` })
    canvas.dataset.index = index
    showThumbnail(canvas, set, index)
    return make('figure', {}, canvas, distance.toFixed(1))
  })
  $('.near .list').replaceChildren(...parts)
  $('.near .told').textContent = `Distances in grey levels, among the first ${set.n.toLocaleString('en')} of ${generator.data.n.toLocaleString('en')} training images. `
    + `New pictures of this world, which no training saw, are ${set.low} to ${set.high} from their nearest (nine in ten; median ${set.median}): a sample that is much nearer may be learnt by heart.`
}

async function show(generator) { // the controls that this generator has
  const { classes, directions, sums } = generator
  $('.panel').hidden = false
  $('.about').textContent = generator.caption
  $('.walk').max = generator.points.length
  $('.walk').value = state.walk
  sayWalk()
  $('.classes').hidden = !classes
  $('.class').max = Math.max(0, classes - 1)
  $('.class').value = state.label
  sayClass()
  $('.directions').hidden = !Object.keys(directions).length
  $('.sliders').replaceChildren(...Object.keys(directions).map(slider))
  $('.arithmetic').hidden = !sums.length
  $('.equations').replaceChildren(...sums.map((s, i) => make('button', { type: 'button', textContent: s.names[3], onclick: () => showSum(i) })))
  $('.sum').hidden = $('.noise').hidden = true
  $('.still').hidden = true
  $('.share').disabled = state.own
  const shown = worlds.includes(generator.data?.name)
  $('.find').checked = state.near
  $('.find').closest('label').hidden = !shown
  $('.near').hidden = !state.near
  $('.none').hidden = shown
  moveHandle()
  if (state.base === 'sum') await showSum(state.equation, state.nth, state.noise)
}

function slider(name) {
  const start = state.amounts[name] ?? 0, said = hidden('amount', start), ends = make('small', { id: `ends-${name}`, textContent: answer(name) }), words = name.replace('_', ' '), { limit } = state.generator.directions[name]
  const input = make('input', { type: 'range', min: -limit, max: limit, step: 0.05, value: start, oninput: () => { state.amounts[name] = Number(input.value); said.textContent = input.value; paint() } })
  input.setAttribute('aria-label', words)
  input.setAttribute('aria-describedby', ends.id)
  return make('label', {}, make('span', { textContent: words }), input, said, ends)
}

function answer(name) { // what a reader of faces sees at both ends of a slider
  const a = state.generator.answers[name], [low, , high] = a ?? []
  return !a ? '' : name === 'turn' ? `mean yaw ${low.toFixed(2)} at the left end, ${high.toFixed(2)} at the right end` : `in ${Math.round(100 * low)} % of the faces at the left end, in ${Math.round(100 * high)} % at the right end`
}

const grid = 5 // pictures along a side of the plane; its corners are the middles of the outermost
let filling = 0
async function fillPlane() { // row by row, until it is filled anew
  const { generator, label } = state, mine = ++filling, canvases = all('.plane canvas')
  for (let row = 0; row < grid; row++) {
    const images = await draw(generator, Array.from({ length: grid }, (_, k) => onPlane(k / (grid - 1), row / (grid - 1))), label)
    if (mine !== filling) return
    images.forEach((image, k) => put(canvases[row * grid + k], generator, image))
  }
}

// Moving: plane, walk, class, sums

function moveHandle(x = state.x, y = state.y) {
  Object.assign(state, { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) })
  const handle = $('.handle'), percent = v => Math.round(100 * v)
  handle.style.left = `${100 * (0.5 + state.x * (grid - 1)) / grid}%`
  handle.style.top = `${100 * (0.5 + state.y * (grid - 1)) / grid}%`
  handle.setAttribute('aria-valuenow', percent(state.x))
  handle.setAttribute('aria-valuetext', `${percent(state.x)} % to the right, ${percent(state.y)} % down`)
}

function toPlane(x, y) { pause(); state.base = 'plane'; moveHandle(x, y); paint() }

function pointed(event) {
  const box = $('.plane').getBoundingClientRect(), place = share => (share * grid - 0.5) / (grid - 1)
  toPlane(place((event.clientX - box.left) / box.width), place((event.clientY - box.top) / box.height))
}

function keyed(event) {
  const step = event.shiftKey ? 0.1 : 0.02
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step], PageUp: [0, -0.1], PageDown: [0, 0.1], Home: [-1, -1], End: [1, 1] }
  if (!moves[event.key]) return
  event.preventDefault()
  toPlane(state.x + moves[event.key][0], state.y + moves[event.key][1])
}

function pause() {
  state.playing = false
  $('.play').textContent = 'Play'
  $('.play').setAttribute('aria-pressed', false)
  toAddress()
}

async function play() {
  Object.assign(state, { playing: true, base: 'walk' })
  $('.play').textContent = 'Pause'
  $('.play').setAttribute('aria-pressed', true)
  for (let before = performance.now(); state.playing;) {
    const now = performance.now()
    state.walk = (state.walk + (now - before) / 1500) % state.generator.points.length // from point to point in 1.5 seconds
    before = now
    $('.walk').value = state.walk
    sayWalk()
    await Promise.all([paint(), new Promise(requestAnimationFrame)])
  }
}

function sayWalk() {
  const k = Math.floor(state.walk), share = Math.round(100 * (state.walk - k)), n = state.generator.points.length, from = k % n + 1, to = (k + 1) % n + 1
  $('.walk').setAttribute('aria-valuetext', share ? `between point ${from} and ${to}, ${share} % of the way` : `at point ${from}`)
}

function sayClass() {
  const low = Math.floor(state.label), share = Math.round(100 * (state.label - low))
  const text = share ? `${100 - share} % ${low}, ${share} % ${low + 1}` : `${low}`
  $('.classes .amount').textContent = text
  $('.class').setAttribute('aria-valuetext', text)
}

async function showSum(equation, nth = 4, seed = 0) { // a − b + c, and eight around it; each of the nine can be chosen
  pause()
  const { generator } = state, { names, terms } = generator.sums[equation], [a, b, c] = terms, sum = plus(a, [-1, b], [1, c])
  for (const b of all('.nine button')) b.disabled = true // the old ones, until the new ones are drawn
  const noise = drawn(9, generator.length, 1000 + seed), nine = noise.map((v, i) => i === 4 ? sum : plus(sum, [0.25, v]))
  const images = await draw(generator, [...terms, ...nine])
  if (generator !== state.generator) return
  const pictured = (i, label) => {
    const canvas = make('canvas')
    put(canvas, generator, images[i])
    canvas.setAttribute('aria-hidden', true)
    return label ? make('figure', {}, canvas, label) : canvas
  }
  const take = nth => { Object.assign(state, { base: 'sum', sum: nine[nth], equation, nth, noise: seed }); paint() }
  $('.terms').replaceChildren(...names.slice(0, 3).map((name, i) => pictured(i, `${['', '− ', '+ '][i]}${name}`)))
  $('.nine').replaceChildren(...nine.map((_, i) => {
    const button = make('button', { type: 'button', onclick: () => take(i) }, pictured(3 + i))
    button.setAttribute('aria-label', `${i + 1} of 9: ${names[3]}${i === 4 ? '' : ', with noise'}`)
    return button
  }))
  $('.sum').hidden = $('.noise').hidden = false
  $('.noise').onclick = () => showSum(equation, 4, seed + 1).catch(fail)
  take(nth)
}

function start() {
  say('Choose a generator. It loads once: 14 MB of runtime, 2 or 3 MB for each generator.')
  for (const b of all('.tabs button')) b.onclick = () => choose(b.dataset.name)
  const plane = $('.plane'), file = $('.file')
  plane.prepend(...Array.from({ length: grid * grid }, () => make('canvas')))
  plane.onpointerdown = event => { event.preventDefault(); plane.setPointerCapture(event.pointerId); $('.handle').focus({ preventScroll: true }); pointed(event) }
  plane.onpointermove = event => { if (plane.hasPointerCapture(event.pointerId)) pointed(event) }
  $('.handle').onkeydown = keyed
  $('.corners').onclick = () => { state.seed++; state.corners = corners(); toPlane(); fillPlane().catch(fail) }
  $('.play').onclick = () => state.playing ? pause() : play()
  $('.walk').oninput = () => { pause(); Object.assign(state, { base: 'walk', walk: Number($('.walk').value) }); sayWalk(); paint() }
  $('.class').oninput = () => { state.label = Number($('.class').value); sayClass(); paint(); fillPlane().catch(fail) }
  $('.zero').onclick = () => { state.amounts = {}; $('.sliders').replaceChildren(...Object.keys(state.generator.directions).map(slider)); paint() }
  $('.save').onclick = savePicture
  $('.share').onclick = copyLink
  $('.find').onchange = () => { state.near = $('.find').checked; showNearest().catch(fail); toAddress() }
  file.onchange = $('.latent').onchange = () => { if (file.files[0]) choose(file.files[0].name, undefined, file.files[0]) }
  window.addEventListener('hashchange', e => restore(new URL(e.newURL).hash)) // `location` may hold our own newer address
  restore(location.hash)
}

if (root) start()
